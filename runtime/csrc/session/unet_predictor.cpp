#include "session/unet_predictor.h"

#include <utility>

#include "cpu/error.h"
#include "onnx/unet.h"
#include "session/scan.h"

namespace vm {

namespace {

using Shape = Predictor::Shape;

size_t vector_count(const Shape &shape) {
    return static_cast<size_t>(3 * shape[0] * shape[1] * shape[2]);
}

// A field on a grid that is larger by a factor.
Buffer<float> resized(Buffer<float> field, Shape &shape, const onnx::Ratio &factor, int threads) {
    if (factor.is_one()) return field;
    Shape larger{};
    for (std::size_t axis = 0; axis < 3; ++axis)
        larger[axis] = shape[axis] * factor.numerator / factor.denominator;
    Buffer<float> result(vector_count(larger));
    check_call(vm_resize(field.data(), 3, shape.data(), larger.data(),
                         static_cast<float>(factor.value()), result.data(), threads));
    shape = larger;
    return result;
}

// A velocity, and the tail that leads from it to the displacement.
class UNetPrediction : public Prediction {
public:
    UNetPrediction(const onnx::Tail &tail, const Shape &shape, bool has_inverse, int threads)
        : velocity(vector_count(shape)),
          tail_(tail),
          shape_(shape),
          has_inverse_(has_inverse),
          threads_(threads) {}

    Buffer<float> displacement() override { return through_tail(1); }

    Buffer<float> inverse() override {
        return has_inverse_ ? through_tail(-1) : Buffer<float>();
    }

    Buffer<float> velocity;

private:
    Buffer<float> through_tail(float sign) const {
        Shape at = shape_;
        Buffer<float> field(velocity.size());
        for (size_t i = 0; i < field.size(); ++i) field[i] = sign * velocity[i];
        field = resized(std::move(field), at, tail_.before, threads_);
        if (tail_.steps)
            check_call(vm_integrate(field.data(), at.data(), tail_.steps, field.data(), threads_));
        return resized(std::move(field), at, tail_.after, threads_);
    }

    const onnx::Tail &tail_;
    Shape shape_;
    bool has_inverse_;
    int threads_;
};

class UNetPredictor : public Predictor {
public:
    UNetPredictor(std::string model, const EngineOptions &options)
        : model_(std::move(model)), options_(options) {
        const onnx::UNet unet = onnx::cut_unet(model_, unet_form(options));
        manifest_ = unet.manifest;
        tail_ = unet.tail;
        if (manifest_.moving_channels != 1 || manifest_.fixed_channels != 1)
            throw Error(VM_ERROR_ARTIFACT,
                        "the model takes scans of several channels; this library registers scans "
                        "of one: run the model with onnxruntime directly");
        // A model of free shape is tried on the smallest grid, so that what is wrong shows now.
        const std::int64_t stride = manifest_.stride;
        const Shape smallest{stride, stride, stride};
        open(manifest_.free_shape() ? smallest : manifest_.shape);
        facts_ = engine_->facts();
        if (!manifest_.free_shape()) model_ = std::string();
    }

    const Manifest &manifest() const override { return manifest_; }
    const EngineFacts &engine() const override { return facts_; }

    std::unique_ptr<Prediction> predict(const float *moving, const float *fixed,
                                        const Shape &shape, bool with_inverse,
                                        const Watch &watch) override {
        const Shape there = onnx::velocity_shape(tail_, shape);
        auto result = std::make_unique<UNetPrediction>(
            tail_, there, with_inverse && manifest_.diffeomorphic, options_.threads);
        open(shape);
        engine_->run(moving, fixed, shape, result->velocity.data(), there, watch);
        return result;
    }

private:
    void open(const Shape &shape) {
        if (engine_ && shape == engine_shape_) return;
        engine_.reset();
        const onnx::UNet unet = onnx::cut_unet(model_, unet_form(options_), shape);
        engine_ = open_engine(unet.model, options_);
        engine_shape_ = shape;
    }

    std::string model_;  // kept where its shape is free
    EngineOptions options_;
    Manifest manifest_;
    onnx::Tail tail_;
    std::unique_ptr<Engine> engine_;
    Shape engine_shape_{};
    EngineFacts facts_;
};

}  // namespace

std::unique_ptr<Predictor> open_unet(std::string model, const EngineOptions &options) {
    return std::make_unique<UNetPredictor>(std::move(model), options);
}

}  // namespace vm
