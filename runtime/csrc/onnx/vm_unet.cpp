// vm_unet_...: cutting models, for C and Python.
#include <memory>

#include "cpu/check.h"
#include "cpu/error.h"
#include "info.h"
#include "onnx/unet.h"

struct vm_unet {
    vm::onnx::UNet unet;
};

vm_status vm_unet_from_onnx(const void *model, size_t size, const vm_unet_options *options,
                            vm_unet **unet) {
    return vm::guarded(__func__, [&] {
        vm::require(unet, "unet");
        *unet = nullptr;
        vm::require(model, "model");
        const vm_unet_options how = vm::options_from(options, "options");
        auto made = std::make_unique<vm_unet>();
        made->unet = vm::onnx::cut_unet(
            {static_cast<const char *>(model), size},
            how.rewrite ? vm::onnx::Form::rewritten : vm::onnx::Form::stored);
        *unet = made.release();
    });
}

const void *vm_unet_data(const vm_unet *unet, size_t *size) {
    if (size) *size = unet ? unet->unet.model.size() : 0;
    return unet ? unet->unet.model.data() : nullptr;
}

vm_status vm_unet_describe(const vm_unet *unet, vm_unet_info *info) {
    return vm::guarded(__func__, [&] {
        vm::require(unet, "unet");
        const vm::onnx::Tail &tail = unet->unet.tail;
        const vm::Manifest &manifest = unet->unet.manifest;
        vm_unet_info full = {};
        full.before_numerator = tail.before.numerator;
        full.before_denominator = tail.before.denominator;
        full.int_steps = tail.steps;
        full.after_numerator = tail.after.numerator;
        full.after_denominator = tail.after.denominator;
        full.diffeomorphic = manifest.diffeomorphic;
        full.half = manifest.half;
        full.rewritten = unet->unet.rewritten;
        full.stride = static_cast<int32_t>(manifest.stride);
        for (int axis = 0; axis < 3; ++axis) full.shape[axis] = manifest.shape[axis];
        full.manifest = manifest.json.c_str();
        vm::fill_info(info, full, "info");
    });
}

void vm_unet_free(vm_unet *unet) { delete unet; }
