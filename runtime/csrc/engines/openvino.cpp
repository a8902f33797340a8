#include "engines/openvino.h"

#include "engines/cpu_features.h"
#include "engines/openvino_library.h"

namespace vm {

namespace {

using openvino::Library;

// How often a caller that wants to cancel is asked while the network runs.
constexpr std::int64_t milliseconds_between_checks = 20;

template <class Handle, void (*Library::*release)(Handle *)>
class Owned {
public:
    explicit Owned(const Library &library) : library_(library) {}
    Owned(const Owned &) = delete;
    Owned &operator=(const Owned &) = delete;
    ~Owned() { reset(); }

    Handle *get() const { return handle_; }
    // Where a call is to put a new handle.
    Handle **fresh() {
        reset();
        return &handle_;
    }

private:
    void reset() {
        if (handle_) (library_.*release)(handle_);
        handle_ = nullptr;
    }

    const Library &library_;
    Handle *handle_ = nullptr;
};

using Core = Owned<openvino::Core, &Library::core_free>;
using Model = Owned<openvino::Model, &Library::model_free>;
using CompiledModel = Owned<openvino::CompiledModel, &Library::compiled_model_free>;
using InferRequest = Owned<openvino::InferRequest, &Library::infer_request_free>;
using Tensor = Owned<openvino::Tensor, &Library::tensor_free>;
using Port = Owned<openvino::Port, &Library::output_const_port_free>;

class OpenVino : public Engine {
public:
    OpenVino(const std::string &model, const EngineOptions &options)
        : library_(openvino::load_library(options.library)),
          core_(library_),
          compiled_(library_),
          request_(library_) {
        library_.check(library_.core_create(core_.fresh()), "start");
        Model read(library_);
        library_.check(library_.core_read_model_from_memory_buffer(
                           core_.get(), model.data(), model.size(), nullptr, read.fresh()),
                       "read the network");
        compile(read, options);
        library_.check(library_.compiled_model_create_infer_request(compiled_.get(),
                                                                    request_.fresh()),
                       "set the network up");
        Port input(library_);
        library_.check(library_.compiled_model_input_by_name(compiled_.get(), "moving",
                                                             input.fresh()),
                       "find the network's input");
        library_.check(library_.port_get_element_type(input.get(), &float_type_),
                       "name the input's type");
    }

    EngineFacts facts() const override { return {"openvino", version(), precision()}; }

    void run(const float *moving, const float *fixed, const Shape &shape, float *velocity,
             const Shape &velocity_shape, const Watch &watch) override {
        Tensor inputs[] = {Tensor(library_), Tensor(library_)}, output(library_);
        // Inputs are only read; the C API has no other way to say so.
        set("moving", const_cast<float *>(moving), 1, shape, inputs[0]);
        set("fixed", const_cast<float *>(fixed), 1, shape, inputs[1]);
        set("velocity", velocity, 3, velocity_shape, output);
        library_.check(library_.infer_request_start_async(request_.get()), "run the network");
        wait(watch);
    }

private:
    void compile(const Model &model, const EngineOptions &options) {
        const std::string threads = std::to_string(options.threads);
        const bool half = options.precision == "bf16" ||
                          (options.precision == "auto" && has_bf16_instructions());
        // Said either way: left to itself OpenVINO takes bf16 wherever the processor has it.
        const char *precision = half ? "bf16" : "f32";
        const bool cached = !options.cache_dir.empty();
        library_.check(
            library_.core_compile_model(
                core_.get(), model.get(), "CPU", cached ? 10 : 8, compiled_.fresh(),
                "INFERENCE_PRECISION_HINT", precision, "INFERENCE_NUM_THREADS", threads.c_str(),
                "PERFORMANCE_HINT", "LATENCY", "NUM_STREAMS", "1",
                // Not looked at beyond the count.
                "CACHE_DIR", options.cache_dir.c_str()),
            "compile the network");
    }

    std::string version() const {
        openvino::Version version = {};
        if (library_.get_openvino_version(&version) != 0) return "unknown";
        const std::string build = version.build ? version.build : "unknown";
        library_.version_free(&version);
        return build.substr(0, build.find('-'));
    }

    std::string precision() const {
        const std::string ran = property("INFERENCE_PRECISION_HINT");
        return ran == "f32" ? "fp32" : ran == "f16" ? "fp16" : ran;
    }

    std::string property(const char *key) const {
        char *value = nullptr;
        library_.check(library_.compiled_model_get_property(compiled_.get(), key, &value),
                       "say how it runs");
        const std::string text = value;
        library_.free(value);
        return text;
    }

    void set(const char *name, float *data, std::int64_t channels, const Shape &shape,
             Tensor &tensor) {
        std::int64_t dims[] = {1, channels, shape[0], shape[1], shape[2]};
        library_.check(library_.tensor_create_from_host_ptr(float_type_, {5, dims}, data,
                                                            tensor.fresh()),
                       "take an array");
        library_.check(library_.infer_request_set_tensor(request_.get(), name, tensor.get()),
                       "take an array");
    }

    void wait(const Watch &watch) {
        if (!watch.is_on()) {
            library_.check(library_.infer_request_wait(request_.get()), "run the network");
            return;
        }
        for (;;) {
            const openvino::Status status =
                library_.infer_request_wait_for(request_.get(), milliseconds_between_checks);
            if (status != openvino::not_ready) {
                library_.check(status, "run the network");
                return;
            }
            try {
                watch.check();
            } catch (...) {
                // The arrays must not be written to after this call.
                library_.infer_request_cancel(request_.get());
                library_.infer_request_wait(request_.get());
                throw;
            }
        }
    }

    const Library &library_;
    Core core_;
    CompiledModel compiled_;
    InferRequest request_;
    int float_type_ = 0;
};

}  // namespace

std::unique_ptr<Engine> open_openvino(const std::string &model, const EngineOptions &options) {
    return std::make_unique<OpenVino>(model, options);
}

}  // namespace vm
