/* What the kernels do with arguments that cannot be used: a status and a message, nothing else. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "expect.h"

enum { D = 4, H = 5, W = 6, VOXELS = D * H * W };

static const int64_t SHAPE[3] = {D, H, W};

/* Shapes that are none, and one whose product overflows. */
static const int64_t BAD[][3] = {{0, 5, 6},       {4, -1, 6},           {4, 5, INT64_MIN},
                                 {1, INT32_MAX, 2}, {3037000500, 3037000500, 2}};

static float field[3 * VOXELS], volume[VOXELS], out[3 * VOXELS];

static vm_map identity(void) {
    vm_map map;
    int i;
    memset(&map, 0, sizeof map);
    map.struct_size = sizeof map;
    memcpy(map.shape, SHAPE, sizeof SHAPE);
    memcpy(map.model_shape, SHAPE, sizeof SHAPE);
    map.displacement = field;
    for (i = 0; i < 3; ++i) map.to_model[5 * i] = map.to_moving[5 * i] = 1;
    return map;
}

static vm_look whole(void) {
    vm_look look;
    memset(&look, 0, sizeof look);
    look.struct_size = sizeof look;
    look.volume = volume;
    memcpy(look.shape, SHAPE, sizeof SHAPE);
    look.type = VM_F32;
    look.mode = VM_LINEAR;
    look.out = out;
    return look;
}

static void warps(void) {
    size_t i;
#define WARP(v, type, channels, shape, u, to, mode, o, threads) \
    vm_warp(v, type, channels, shape, u, to, mode, o, NULL, threads)
    EXPECT_STATUS(WARP(volume, VM_F32, 1, SHAPE, field, SHAPE, VM_LINEAR, out, 1), VM_OK);
    EXPECT_STATUS(WARP(NULL, VM_F32, 1, SHAPE, field, SHAPE, VM_LINEAR, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(WARP(volume, VM_F32, 1, NULL, field, SHAPE, VM_LINEAR, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(WARP(volume, VM_F32, 1, SHAPE, NULL, SHAPE, VM_LINEAR, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(WARP(volume, VM_F32, 1, SHAPE, field, NULL, VM_LINEAR, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(WARP(volume, VM_F32, 1, SHAPE, field, SHAPE, VM_LINEAR, NULL, 1),
                  VM_ERROR_ARGUMENT);
    EXPECT_STATUS(WARP(volume, VM_F32, 1, SHAPE, field, SHAPE, VM_LINEAR, out, -1),
                  VM_ERROR_ARGUMENT);
    EXPECT_STATUS(WARP(volume, VM_F32, 0, SHAPE, field, SHAPE, VM_LINEAR, out, 1),
                  VM_ERROR_ARGUMENT);
    EXPECT_STATUS(WARP(volume, VM_F32, INT64_MAX, SHAPE, field, SHAPE, VM_LINEAR, out, 1),
                  VM_ERROR_ARGUMENT);
    EXPECT_STATUS(WARP(volume, (vm_type)0, 1, SHAPE, field, SHAPE, VM_LINEAR, out, 1),
                  VM_ERROR_ARGUMENT);
    EXPECT_STATUS(WARP(volume, (vm_type)12, 1, SHAPE, field, SHAPE, VM_NEAREST, out, 1),
                  VM_ERROR_ARGUMENT);
    EXPECT_STATUS(WARP(volume, VM_F32, 1, SHAPE, field, SHAPE, (vm_mode)4, out, 1),
                  VM_ERROR_ARGUMENT);
    EXPECT_STATUS(WARP(volume, VM_F32, 1, SHAPE, field, SHAPE, VM_LABEL, out, 1),
                  VM_ERROR_ARGUMENT);
    for (i = 0; i < sizeof BAD / sizeof BAD[0]; ++i) {
        EXPECT_STATUS(WARP(volume, VM_F32, 1, BAD[i], field, SHAPE, VM_LINEAR, out, 1),
                      VM_ERROR_ARGUMENT);
        EXPECT_STATUS(WARP(volume, VM_F32, 1, SHAPE, field, BAD[i], VM_LINEAR, out, 1),
                      VM_ERROR_ARGUMENT);
        EXPECT_STATUS(vm_integrate(field, BAD[i], 7, out, 1), VM_ERROR_ARGUMENT);
        EXPECT_STATUS(vm_compose(field, BAD[i], field, SHAPE, out, 1), VM_ERROR_ARGUMENT);
        EXPECT_STATUS(vm_compose(field, SHAPE, field, BAD[i], out, 1), VM_ERROR_ARGUMENT);
        EXPECT_STATUS(vm_resize(field, 3, BAD[i], SHAPE, 1, out, 1), VM_ERROR_ARGUMENT);
        EXPECT_STATUS(vm_resize(field, 3, SHAPE, BAD[i], 1, out, 1), VM_ERROR_ARGUMENT);
        EXPECT_STATUS(vm_jacobian_determinant(field, BAD[i], out, 1), VM_ERROR_ARGUMENT);
        EXPECT_STATUS(vm_invert(field, BAD[i], NULL, out, 1, NULL, NULL), VM_ERROR_ARGUMENT);
    }
}

static void fields(void) {
    EXPECT_STATUS(vm_integrate(NULL, SHAPE, 7, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_integrate(field, NULL, 7, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_integrate(field, SHAPE, 7, NULL, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_integrate(field, SHAPE, -1, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_integrate(field, SHAPE, 31, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_compose(NULL, SHAPE, field, SHAPE, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_compose(field, SHAPE, NULL, SHAPE, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_compose(field, SHAPE, field, SHAPE, NULL, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_resize(NULL, 3, SHAPE, SHAPE, 1, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_resize(field, 3, SHAPE, SHAPE, 1, NULL, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_resize(field, -3, SHAPE, SHAPE, 1, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_resize(field, 3, SHAPE, SHAPE, NAN, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_jacobian_determinant(NULL, SHAPE, out, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_jacobian_determinant(field, SHAPE, NULL, 1), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_invert(NULL, SHAPE, NULL, out, 1, NULL, NULL), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_invert(field, SHAPE, NULL, NULL, 1, NULL, NULL), VM_ERROR_ARGUMENT);
}

static void maps(void) {
    const double numbers[] = {NAN, INFINITY, -INFINITY, 1e300};
    const double here[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    vm_map map = identity();
    vm_look look = whole(), two[2];
    size_t i;
    EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_OK);
    EXPECT_STATUS(vm_carry(NULL, &look, 1, 0), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_carry(&map, NULL, 1, 0), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_carry(&map, &look, 0, 0), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_carry(&map, &look, SIZE_MAX, 0), VM_ERROR_ARGUMENT);
    for (i = 0; i < 4; ++i) {
        map = identity();
        map.to_model[7] = numbers[i];
        EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_ERROR_ARGUMENT);
        EXPECT_STATUS(vm_places(&map, 0, D, out, 0), VM_ERROR_ARGUMENT);
        map = identity();
        map.to_moving[0] = numbers[i];
        EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_ERROR_ARGUMENT);
    }
    for (i = 0; i < sizeof BAD / sizeof BAD[0]; ++i) {
        map = identity();
        memcpy(map.shape, BAD[i], sizeof map.shape);
        EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_ERROR_ARGUMENT);
        map = identity();
        memcpy(map.model_shape, BAD[i], sizeof map.model_shape);
        EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_ERROR_ARGUMENT);
        map = identity();
        look = whole();
        memcpy(look.shape, BAD[i], sizeof look.shape);
        EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_ERROR_ARGUMENT);
        EXPECT_STATUS(vm_affine_resample(&look, here, SHAPE, 0), VM_ERROR_ARGUMENT);
        look = whole();
        EXPECT_STATUS(vm_affine_resample(&look, here, BAD[i], 0), VM_ERROR_ARGUMENT);
    }
    map = identity();
    map.struct_size = 8;
    EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_ERROR_ARGUMENT);
    map = identity();
    look.struct_size = 0;
    EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_ERROR_ARGUMENT);
    look = whole();
    look.volume = NULL;
    EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_ERROR_ARGUMENT);
    look = whole();
    look.out = NULL;
    EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_ERROR_ARGUMENT);
    look = whole();
    look.strides[0] = -30, look.strides[1] = 6, look.strides[2] = 1;
    EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_ERROR_ARGUMENT);
    look.strides[0] = INT32_MAX;
    EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_ERROR_ARGUMENT);
    two[0] = two[1] = whole();
    two[1].shape[2] = 5;
    EXPECT_STATUS(vm_carry(&map, two, 2, 0), VM_ERROR_ARGUMENT);
    /* A singular map has no inverse, but places all the same. */
    look = whole();
    memset(map.to_moving, 0, sizeof map.to_moving);
    EXPECT_STATUS(vm_carry(&map, &look, 1, 0), VM_OK);
    EXPECT_STATUS(vm_affine_resample(NULL, here, SHAPE, 0), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_affine_resample(&look, NULL, SHAPE, 0), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_affine_resample(&look, here, NULL, 0), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_places(&map, 0, D + 1, out, 0), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_places(&map, -1, D, out, 0), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_places(&map, 2, 2, out, 0), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_places(&map, 0, D, NULL, 0), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_offsets(&map, NULL, out, 0), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_offsets(&map, here, NULL, 0), VM_ERROR_ARGUMENT);
}

static int32_t stop(void *context, double fraction) {
    int *calls = (int *)context;
    EXPECT(fraction >= 0 && fraction <= 1);
    return --*calls < 0;
}

static void cancelling(void) {
    int calls, after;
    for (after = 0; after < 3; ++after) {
        calls = after;
        EXPECT_STATUS(vm_invert(field, SHAPE, NULL, out, 2, stop, &calls), VM_ERROR_CANCELLED);
    }
    calls = 1000;
    EXPECT_STATUS(vm_invert(field, SHAPE, NULL, out, 2, stop, &calls), VM_OK);
    EXPECT(calls < 1000);
}

int main(void) {
    int i;
    for (i = 0; i < 3 * VOXELS; ++i) field[i] = (float)(i % 7) / 4;
    for (i = 0; i < VOXELS; ++i) volume[i] = (float)(i % 5);
    EXPECT(vm_abi_version() == VM_ABI_VERSION);
    EXPECT(vm_last_error()[0] == '\0');
    EXPECT(strlen(vm_kernel_instructions()) > 0);
    EXPECT(strcmp(vm_status_name((vm_status)99), "VM_ERROR_UNKNOWN") == 0);
    warps();
    fields();
    maps();
    cancelling();
    return disappointed;
}
