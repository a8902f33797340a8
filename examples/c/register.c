/* Registers a pair and carries a segmentation over, in C99.
 *
 *     register model.onnx moving.nii fixed.nii moving_labels.nii moved.nii moved_labels.nii
 *
 * The scans may be of any orientation and voxel size, as long as their headers put them into one
 * world; model.onnx is what vm-export made.
 */
#include <stdio.h>

#include "nifti1.h"
#include "vmruntime.h"

static int failed(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    return 1;
}

static int32_t show(void *context, double share) {
    (void)context;
    fprintf(stderr, "\r%3.0f %%", 100 * share);
    return 0; /* anything else would end the registration */
}

/* The result's images belong to the result. */
static int write_result(const vm_result *result, const nifti1_file *fixed, char **paths) {
    vm_image moved, labels;
    const char *code, *text, *wrong;
    if (vm_result_moved(result, &moved) || vm_result_labels(result, 0, &labels))
        return failed("result", vm_last_error());
    wrong = nifti1_write(paths[0], fixed, &moved);
    if (wrong) return failed(paths[0], wrong);
    wrong = nifti1_write(paths[1], fixed, &labels);
    if (wrong) return failed(paths[1], wrong);
    for (size_t i = 0; !vm_result_warning(result, i, &code, &text) && code; ++i)
        fprintf(stderr, "warning (%s): %s\n", code, text);
    printf("network %.2f s, everything else %.2f s\n", vm_result_seconds(result, "network"),
           vm_result_seconds(result, "prepare") + vm_result_seconds(result, "tail") +
               vm_result_seconds(result, "resample"));
    return 0;
}

static int register_files(vm_session *session, nifti1_file files[3], char **paths) {
    vm_register_options options = {0};
    vm_result *result = NULL;
    int status;
    options.struct_size = sizeof options;
    options.affine = VM_AFFINE_HEADER;
    options.labels = &files[2].image;
    options.label_count = 1;
    options.label_mode = VM_LABEL;
    options.progress = show;
    if (vm_register(session, &files[0].image, &files[1].image, &options, &result))
        return failed("\nregistration", vm_last_error());
    fprintf(stderr, "\n");
    status = write_result(result, &files[1], paths);
    vm_result_free(result);
    return status;
}

int main(int count, char **arguments) {
    nifti1_file files[3] = {{{0}, NULL, {0}}, {{0}, NULL, {0}}, {{0}, NULL, {0}}};
    vm_session *session = NULL;
    int status = 1;
    if (count != 7) {
        fprintf(stderr, "usage: %s model.onnx moving.nii fixed.nii moving_labels.nii moved.nii "
                        "moved_labels.nii\n", arguments[0]);
        return 2;
    }
    for (int i = 0; i < 3; ++i) {
        const char *wrong = nifti1_read(arguments[2 + i], &files[i]);
        if (wrong) {
            failed(arguments[2 + i], wrong);
            goto done;
        }
    }
    if (vm_session_open(arguments[1], NULL, &session))
        failed(arguments[1], vm_last_error());
    else
        status = register_files(session, files, arguments + 5);
done:
    vm_session_free(session);
    for (int i = 0; i < 3; ++i) nifti1_free(&files[i]);
    return status;
}
