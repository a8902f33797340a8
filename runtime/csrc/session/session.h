// A loaded model that serves several threads.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "session/predictor.h"

namespace vm {

class Session {
public:
    using Shape = Predictor::Shape;

    // Throws Error: ARGUMENT, or what open_predictor throws.
    Session(std::string model, const EngineOptions &options);

    const Manifest &manifest() const { return predictor_->manifest(); }
    const EngineFacts &engine() const { return predictor_->engine(); }
    int threads() const { return threads_; }

    // As Predictor::predict, from any thread: one at a time.
    std::unique_ptr<Prediction> predict(const float *moving, const float *fixed,
                                        const Shape &shape, bool with_inverse, const Watch &watch);

private:
    int threads_;
    std::unique_ptr<Predictor> predictor_;
    std::timed_mutex running_;
};

}  // namespace vm
