#include "session/session.h"

#include <chrono>
#include <utility>

#include "plan/plan_file.h"
#include "session/plan_predictor.h"
#include "session/unet_predictor.h"

namespace vm {

std::unique_ptr<Predictor> open_predictor(std::string model, const EngineOptions &options) {
    if (is_plan(model)) return open_plan(model, options);
    return open_unet(std::move(model), options);
}

Session::Session(std::string model, const EngineOptions &options) : threads_(options.threads) {
    check_names(options);
    predictor_ = open_predictor(std::move(model), options);
}

std::unique_ptr<Prediction> Session::predict(const float *moving, const float *fixed,
                                             const Shape &shape, bool with_inverse,
                                             const Watch &watch) {
    std::unique_lock<std::timed_mutex> lock(running_, std::defer_lock);
    while (!lock.try_lock_for(std::chrono::milliseconds(20))) watch.check();
    return predictor_->predict(moving, fixed, shape, with_inverse, watch);
}

}  // namespace vm
