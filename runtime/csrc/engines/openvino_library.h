// OpenVINO's C API, loaded at run time: its library's name changes with each release, and a program
// that never registers anything need not have it.
//
// The declarations are those of openvino/c/*.h, as far as they have stayed the same since 2025.0
// (checked against 2026.4). Numbers of element types have changed, so none is used: types are
// asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace vm::openvino {

struct Core;
struct Model;
struct CompiledModel;
struct InferRequest;
struct Tensor;
struct Port;

using Status = int;  // 0: done
constexpr Status not_ready = -9;

struct Shape {
    std::int64_t rank;
    std::int64_t *dims;
};

struct Version {
    const char *build, *description;
};

struct Library {
    std::string path;

    Status (*get_openvino_version)(Version *);
    void (*version_free)(Version *);
    const char *(*get_error_info)(Status);
    const char *(*get_last_err_msg)();  // nullptr in old versions
    void (*free)(const char *);
    Status (*core_create)(Core **);
    void (*core_free)(Core *);
    Status (*core_read_model_from_memory_buffer)(const Core *, const char *, std::size_t,
                                                 const Tensor *, Model **);
    Status (*core_compile_model)(const Core *, const Model *, const char *, std::size_t,
                                 CompiledModel **, ...);
    void (*model_free)(Model *);
    Status (*compiled_model_create_infer_request)(const CompiledModel *, InferRequest **);
    Status (*compiled_model_get_property)(const CompiledModel *, const char *, char **);
    Status (*compiled_model_input_by_name)(const CompiledModel *, const char *, Port **);
    void (*compiled_model_free)(CompiledModel *);
    Status (*port_get_element_type)(const Port *, int *);
    void (*output_const_port_free)(Port *);
    Status (*tensor_create_from_host_ptr)(int, Shape, void *, Tensor **);
    Status (*tensor_get_byte_size)(const Tensor *, std::size_t *);
    void (*tensor_free)(Tensor *);
    Status (*infer_request_set_tensor)(InferRequest *, const char *, const Tensor *);
    Status (*infer_request_start_async)(InferRequest *);
    Status (*infer_request_wait)(InferRequest *);
    Status (*infer_request_wait_for)(InferRequest *, std::int64_t milliseconds);
    Status (*infer_request_cancel)(InferRequest *);
    void (*infer_request_free)(InferRequest *);

    // Throws Error (ENGINE) with the engine's own words where a call did not succeed.
    void check(Status status, const char *doing) const;
};

// The library at a path, or where it is empty, at $VM_OPENVINO_LIBRARY, or where it is found. Stays
// loaded until the process ends: its threads do. Throws Error (UNAVAILABLE).
const Library &load_library(const std::string &path);

}  // namespace vm::openvino
