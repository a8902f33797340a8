#include "nifti1.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the fields of the header lie: nifti1.h of the NIfTI working group. */
enum { DIM = 40, DATATYPE = 70, BITPIX = 72, VOX_OFFSET = 108, SCL_SLOPE = 112, SCL_INTER = 116 };
enum { CAL_MAX = 124, SFORM_CODE = 254, SROW = 280, MAGIC = 344 };

static const struct {
    short code;
    vm_type type;
    size_t size;
} types[] = {{2, VM_U8, 1},     {256, VM_I8, 1},   {4, VM_I16, 2},    {512, VM_U16, 2},
             {8, VM_I32, 4},    {768, VM_U32, 4},  {16, VM_F32, 4},   {64, VM_F64, 8},
             {1024, VM_I64, 8}, {1280, VM_U64, 8}};

static size_t kind_of(short code) {
    size_t kind = 0;
    while (kind < sizeof types / sizeof *types && types[kind].code != code) ++kind;
    return kind;
}

static short short_at(const unsigned char *header, int at) {
    short value;
    memcpy(&value, header + at, sizeof value);
    return value;
}

static float float_at(const unsigned char *header, int at) {
    float value;
    memcpy(&value, header + at, sizeof value);
    return value;
}

static double value_at(const void *values, vm_type type, size_t i) {
    switch (type) {
        case VM_U8: return ((const uint8_t *)values)[i];
        case VM_I8: return ((const int8_t *)values)[i];
        case VM_U16: return ((const uint16_t *)values)[i];
        case VM_I16: return ((const int16_t *)values)[i];
        case VM_U32: return ((const uint32_t *)values)[i];
        case VM_I32: return ((const int32_t *)values)[i];
        case VM_U64: return (double)((const uint64_t *)values)[i];
        case VM_I64: return (double)((const int64_t *)values)[i];
        case VM_F32: return ((const float *)values)[i];
        default: return ((const double *)values)[i];
    }
}

/* What NIfTI stores is a straight line away from what it means. */
static const char *scale(nifti1_file *file, size_t count) {
    const float slope = float_at(file->header, SCL_SLOPE);
    const float offset = float_at(file->header, SCL_INTER);
    float *scaled;
    if (slope == 0 || (slope == 1 && offset == 0)) return NULL;
    scaled = malloc(count * sizeof *scaled);
    if (!scaled) return "not enough memory";
    for (size_t i = 0; i < count; ++i)
        scaled[i] = (float)(slope * value_at(file->values, file->image.type, i) + offset);
    free(file->values);
    file->values = scaled;
    file->image.type = VM_F32;
    return NULL;
}

static const char *read_from(FILE *stream, nifti1_file *file) {
    size_t kind, count = 1;
    long offset;
    if (fread(file->header, 1, 348, stream) != 348 || memcmp(file->header + MAGIC, "n+1", 4))
        return "not an uncompressed NIfTI-1 file";
    if (short_at(file->header, SFORM_CODE) < 1) return "has no sform";
    if (short_at(file->header, DIM) < 3) return "has fewer than three axes";
    kind = kind_of(short_at(file->header, DATATYPE));
    if (kind == sizeof types / sizeof *types) return "holds values of another type";
    for (int axis = 0; axis < 3; ++axis) {
        const short size = short_at(file->header, DIM + 2 + 2 * axis);
        if (size < 1) return "has no voxels";
        file->image.shape[axis] = size;
        file->image.strides[axis] = (int64_t)count;
        count *= (size_t)size;
    }
    for (int i = 0; i < 12; ++i) file->image.affine[i] = float_at(file->header, SROW + 4 * i);
    file->image.type = types[kind].type;
    file->values = malloc(count * types[kind].size);
    if (!file->values) return "not enough memory";
    offset = (long)float_at(file->header, VOX_OFFSET);
    if (fseek(stream, offset, SEEK_SET) ||
        fread(file->values, types[kind].size, count, stream) != count)
        return "ends early";
    return scale(file, count);
}

const char *nifti1_read(const char *path, nifti1_file *file) {
    FILE *stream = fopen(path, "rb");
    const char *wrong;
    memset(file, 0, sizeof *file);
    if (!stream) return "cannot be opened";
    wrong = read_from(stream, file);
    fclose(stream);
    if (wrong)
        nifti1_free(file);
    else
        file->image.data = file->values;
    return wrong;
}

const char *nifti1_write(const char *path, const nifti1_file *like, const vm_image *image) {
    unsigned char header[352];
    const float one[2] = {1, 0}, start = 352, none[2] = {0, 0};
    const char *values = image->data;
    size_t kind = 0;
    short bits;
    FILE *stream;
    while (types[kind].type != image->type) ++kind;
    bits = (short)(8 * types[kind].size);
    memcpy(header, like->header, sizeof header);
    memcpy(header + DATATYPE, &types[kind].code, 2);
    memcpy(header + BITPIX, &bits, 2);
    memcpy(header + VOX_OFFSET, &start, 4);
    memcpy(header + SCL_SLOPE, one, 8);
    memcpy(header + CAL_MAX, none, 8);
    memset(header + 348, 0, 4); /* no extensions */
    stream = fopen(path, "wb");
    if (!stream) return "cannot be written";
    fwrite(header, 1, sizeof header, stream);
    /* C order to x fastest. */
    for (int64_t z = 0; z < image->shape[2]; ++z)
        for (int64_t y = 0; y < image->shape[1]; ++y)
            for (int64_t x = 0; x < image->shape[0]; ++x) {
                const int64_t at = (x * image->shape[1] + y) * image->shape[2] + z;
                fwrite(values + (size_t)at * types[kind].size, types[kind].size, 1, stream);
            }
    return fclose(stream) ? "cannot be written" : NULL;
}

void nifti1_free(nifti1_file *file) {
    free(file->values);
    memset(file, 0, sizeof *file);
}
