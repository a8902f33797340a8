// vmruntime.h for C++17: handles that release themselves, errors as exceptions. Header only.
//
//     vmruntime::Session session("model.onnx");
//     vmruntime::Options options;
//     options.affine = VM_AFFINE_HEADER;
//     vmruntime::Result result = session.register_pair(moving, fixed, options);
//     vm_image moved = result.moved();
//
// Images are views (vm_image): whoever made them owns the values, for a result's that is the result.
// Objects can be moved but not copied. Threads: as vmruntime.h says.
#ifndef VMRUNTIME_HPP
#define VMRUNTIME_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "vmruntime.h"

namespace vmruntime {

// First three rows of an affine 4 x 4 matrix, row after row.
using Matrix = std::array<double, 12>;

// What vm_last_error said, with its status.
class Error : public std::runtime_error {
public:
    Error(vm_status status, const std::string &text) : std::runtime_error(text), status_(status) {}
    vm_status status() const noexcept { return status_; }

private:
    vm_status status_;
};

// Throws Error where a call did not succeed.
inline void check(vm_status status) {
    if (status != VM_OK) throw Error(status, vm_last_error());
}

template <class Struct>
Struct sized() {
    Struct made{};
    made.struct_size = sizeof made;
    return made;
}

// The vm_type of C++'s own number types.
template <class Number>
constexpr vm_type type_of();
template <> constexpr vm_type type_of<std::uint8_t>() { return VM_U8; }
template <> constexpr vm_type type_of<std::int8_t>() { return VM_I8; }
template <> constexpr vm_type type_of<std::uint16_t>() { return VM_U16; }
template <> constexpr vm_type type_of<std::int16_t>() { return VM_I16; }
template <> constexpr vm_type type_of<std::uint32_t>() { return VM_U32; }
template <> constexpr vm_type type_of<std::int32_t>() { return VM_I32; }
template <> constexpr vm_type type_of<std::uint64_t>() { return VM_U64; }
template <> constexpr vm_type type_of<std::int64_t>() { return VM_I64; }
template <> constexpr vm_type type_of<float>() { return VM_F32; }
template <> constexpr vm_type type_of<double>() { return VM_F64; }

// A view of an array (D, H, W) in C order.
template <class Number>
vm_image image(const Number *data, const std::array<std::int64_t, 3> &shape,
               const Matrix &affine) {
    vm_image view{};
    view.data = data;
    view.type = type_of<Number>();
    for (std::size_t axis = 0; axis < 3; ++axis) view.shape[axis] = shape[axis];
    for (std::size_t i = 0; i < 12; ++i) view.affine[i] = affine[i];
    return view;
}

// A view of an array as NIfTI has it: (X, Y, Z), x running fastest.
template <class Number>
vm_image nifti_image(const Number *data, const std::array<std::int64_t, 3> &shape,
                     const Matrix &affine) {
    vm_image view = image(data, shape, affine);
    view.strides[0] = 1;
    view.strides[1] = shape[0];
    view.strides[2] = shape[0] * shape[1];
    return view;
}

inline std::size_t voxels(const vm_image &image) {
    return static_cast<std::size_t>(image.shape[0] * image.shape[1] * image.shape[2]);
}

// As vm_register_options; what is empty is left to the default.
struct Options {
    vm_affine affine = VM_AFFINE_DEFAULT;
    Matrix matrix{};                // with VM_AFFINE_MATRIX
    std::string moving_intensity;
    std::string fixed_intensity;
    std::vector<vm_image> labels;
    vm_mode label_mode = VM_NEAREST;
    unsigned outputs = VM_WITH_MOVED;
    bool force = false;
    bool full_search = false;       // with VM_AFFINE_AUTO: look at all rotations
    // Told the share of the work that is done; may end it by returning false or by throwing, which
    // Session::register_pair then throws on.
    std::function<bool(double)> progress;
};

struct Warning {
    std::string code, text;
};

// What registering a pair gave.
class Result {
public:
    // Takes the handle over; `fixed_voxels` is the size of the fixed scan.
    Result(vm_result *owned, std::size_t fixed_voxels) : handle_(owned), voxels_(fixed_voxels) {}

    vm_image moved() const {
        vm_image image{};
        check(vm_result_moved(get(), &image));
        return image;
    }

    vm_image labels(std::size_t index = 0) const {
        vm_image image{};
        check(vm_result_labels(get(), index, &image));
        return image;
    }

    vm_field field(vm_array which) const {
        vm_field field{};
        check(vm_result_field(get(), which, &field));
        return field;
    }

    Matrix affine() const {
        Matrix matrix{};
        check(vm_result_affine(get(), matrix.data()));
        return matrix;
    }

    // How the scans were aligned; `computed` is 0 where they were not.
    vm_alignment alignment() const {
        auto found = sized<vm_alignment>();
        check(vm_result_alignment(get(), &found));
        return found;
    }

    // Another image of the moving subject on the fixed scan's grid, or another one. `Number` is
    // float for VM_LINEAR, else the image's own type.
    template <class Number>
    std::vector<Number> carry(const vm_image &image, vm_mode mode,
                              const vm_image *onto = nullptr) const {
        if (type_of<Number>() != (mode == VM_LINEAR ? VM_F32 : image.type))
            throw Error(VM_ERROR_ARGUMENT,
                        "carry: VM_LINEAR gives float, other modes the image's own type");
        std::vector<Number> values(onto ? voxels(*onto) : voxels_);
        check(vm_result_carry(get(), &image, mode, onto, values.data(),
                              values.size() * sizeof(Number)));
        return values;
    }

    std::array<double, 3> map(std::array<double, 3> point) const {
        check(vm_result_map_points(get(), point.data(), 1, point.data()));
        return point;
    }

    std::vector<Warning> warnings() const {
        std::vector<Warning> found;
        for (std::size_t i = 0;; ++i) {
            const char *code = nullptr, *text = nullptr;
            check(vm_result_warning(get(), i, &code, &text));
            if (!code) return found;
            found.push_back({code, text});
        }
    }

    double seconds(const std::string &stage) const {
        return vm_result_seconds(get(), stage.c_str());
    }

    const vm_result *get() const noexcept { return handle_.get(); }

private:
    struct Free {
        void operator()(vm_result *handle) const { vm_result_free(handle); }
    };
    std::unique_ptr<vm_result, Free> handle_;
    std::size_t voxels_;
};

// A model in an engine.
class Session {
public:
    explicit Session(const std::string &path, const vm_session_options *options = nullptr) {
        require_same_version();
        vm_session *opened = nullptr;
        check(vm_session_open(path.c_str(), options, &opened));
        handle_.reset(opened);
    }

    Session(const void *model, std::size_t size, const vm_session_options *options = nullptr) {
        require_same_version();
        vm_session *opened = nullptr;
        check(vm_session_open_memory(model, size, options, &opened));
        handle_.reset(opened);
    }

    // The texts are the session's own.
    vm_session_info describe() const {
        auto info = sized<vm_session_info>();
        check(vm_session_describe(get(), &info));
        return info;
    }

    Result register_pair(const vm_image &moving, const vm_image &fixed,
                         const Options &options = {}) const {
        auto how = sized<vm_register_options>();
        how.affine = options.affine;
        for (std::size_t i = 0; i < 12; ++i) how.matrix[i] = options.matrix[i];
        how.moving_intensity = text_or_null(options.moving_intensity);
        how.fixed_intensity = text_or_null(options.fixed_intensity);
        how.labels = options.labels.data();
        how.label_count = options.labels.size();
        how.label_mode = options.label_mode;
        how.outputs = options.outputs;
        how.force = options.force;
        how.full_search = options.full_search;
        Listener listener{&options.progress, nullptr};
        if (options.progress) {
            how.progress = &Listener::tell;
            how.context = &listener;
        }
        vm_result *made = nullptr;
        const vm_status status = vm_register(get(), &moving, &fixed, &how, &made);
        if (listener.thrown) std::rethrow_exception(listener.thrown);
        check(status);
        return Result(made, voxels(fixed));
    }

    vm_session *get() const noexcept { return handle_.get(); }

private:
    // No exception may run through the C library: it is kept until that has returned.
    struct Listener {
        const std::function<bool(double)> *progress;
        std::exception_ptr thrown;

        static std::int32_t tell(void *context, double share) {
            auto *self = static_cast<Listener *>(context);
            try {
                return (*self->progress)(share) ? 0 : 1;
            } catch (...) {
                self->thrown = std::current_exception();
                return 1;
            }
        }
    };

    struct Free {
        void operator()(vm_session *handle) const { vm_session_free(handle); }
    };

    static const char *text_or_null(const std::string &text) {
        return text.empty() ? nullptr : text.c_str();
    }

    static void require_same_version() {
        if (vm_abi_version() != VM_ABI_VERSION)
            throw Error(VM_ERROR_UNAVAILABLE,
                        "libvmruntime has ABI version " + std::to_string(vm_abi_version()) +
                            ", this program was built for " + std::to_string(VM_ABI_VERSION) +
                            "; install that one");
    }

    std::unique_ptr<vm_session, Free> handle_;
};

}  // namespace vmruntime

#endif
