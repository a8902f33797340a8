/* Reading and writing uncompressed NIfTI-1 files (.nii), as far as examples need it: little-endian,
 * one volume, an sform. Programs that take what comes use a library, such as libnifti2. */
#ifndef NIFTI1_H
#define NIFTI1_H

#include "vmruntime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nifti1_file {
    unsigned char header[352];
    void *values; /* x runs fastest */
    vm_image image; /* a view of the values: shape (X, Y, Z) */
} nifti1_file;

/* NULL where it worked, else what is wrong. Scaled values (scl_slope) come as float32. */
const char *nifti1_read(const char *path, nifti1_file *file);

/* Write an image in C order on the grid of a file that was read. */
const char *nifti1_write(const char *path, const nifti1_file *like, const vm_image *image);

void nifti1_free(nifti1_file *file);

#ifdef __cplusplus
}
#endif

#endif
