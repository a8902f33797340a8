#include "session/plan_predictor.h"

#include <utility>

#include "cpu/error.h"
#include "engines/tensorrt.h"
#include "plan/plan_file.h"

namespace vm {

namespace {

class PlanPrediction : public Prediction {
public:
    PlanPrediction(std::size_t count, bool with_inverse)
        : displacement_(count), inverse_(with_inverse ? Buffer<float>(count) : Buffer<float>()) {}

    Buffer<float> displacement() override { return std::move(displacement_); }
    Buffer<float> inverse() override { return std::move(inverse_); }

    Buffer<float> displacement_, inverse_;
};

class PlanPredictor : public Predictor {
public:
    PlanPredictor(Manifest manifest, std::unique_ptr<PlanEngine> engine)
        : manifest_(std::move(manifest)), engine_(std::move(engine)), facts_(engine_->facts()) {}

    const Manifest &manifest() const override { return manifest_; }
    const EngineFacts &engine() const override { return facts_; }

    std::unique_ptr<Prediction> predict(const float *moving, const float *fixed,
                                        const Shape &shape, bool with_inverse,
                                        const Watch &watch) override {
        const auto count = static_cast<std::size_t>(3 * shape[0] * shape[1] * shape[2]);
        auto result =
            std::make_unique<PlanPrediction>(count, with_inverse && engine_->has_inverse());
        engine_->run(moving, fixed, shape, result->displacement_.data(), result->inverse_.data(),
                     watch);
        return result;
    }

private:
    Manifest manifest_;
    std::unique_ptr<PlanEngine> engine_;
    EngineFacts facts_;
};

void check_engine(const Manifest &manifest, const EngineOptions &options) {
    const BuiltEngine &built = manifest.engine;
    if (built.target.empty())
        throw Error(VM_ERROR_ARTIFACT,
                    "the plan's manifest does not say what it was built for; build it again with "
                    "vm-export --engine");
    if (built.target != "tensorrt")
        throw Error(VM_ERROR_UNSUPPORTED,
                    "the plan was built for TensorRT-RTX, which this library does not run; build "
                    "it with vm-export --engine --target tensorrt, or use its model.onnx");
    if (options.name != "auto" && options.name != "tensorrt")
        throw Error(VM_ERROR_UNSUPPORTED, options.name + " runs ONNX models, and this is a plan; "
                                                         "use its model.onnx, or engine auto");
    if (options.precision != "auto" && !options.precision.empty() &&
        options.precision != built.precision)
        throw Error(VM_ERROR_UNSUPPORTED, "the plan was built in " + built.precision + ", not in " +
                                              options.precision +
                                              "; build one in it with vm-export --engine");
    if (manifest.moving_channels != 1 || manifest.fixed_channels != 1)
        throw Error(VM_ERROR_ARTIFACT, "the plan takes scans of several channels; this library "
                                       "registers scans of one");
}

}  // namespace

std::unique_ptr<Predictor> open_plan(const std::string &plan, const EngineOptions &options) {
    Manifest manifest = parse_manifest(read_plan_manifest(plan));
    check_engine(manifest, options);
    std::unique_ptr<PlanEngine> engine = open_tensorrt(plan, manifest.engine, options);
    return std::make_unique<PlanPredictor>(std::move(manifest), std::move(engine));
}

}  // namespace vm
