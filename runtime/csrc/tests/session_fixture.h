/* A session on the tiny model and a pair to register, for tests in C. */
#ifndef SESSION_FIXTURE_H
#define SESSION_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "expect.h"
#include "tiny_model.h"

enum { VOXELS = TINY_SIZE * TINY_SIZE * TINY_SIZE };

/* The tiny model's grid: LIA, 1 mm. */
static const double tiny_affine[12] = {-1, 0, 0, 8, 0, 0, 1, -8, 0, -1, 0, 8};

static int16_t moving_values[VOXELS];
static float fixed_values[VOXELS];
static uint8_t label_values[VOXELS];

static vm_image tiny_image(const void *data, vm_type type) {
    vm_image image;
    memset(&image, 0, sizeof image);
    image.data = data;
    image.type = type;
    image.shape[0] = image.shape[1] = image.shape[2] = TINY_SIZE;
    memcpy(image.affine, tiny_affine, sizeof tiny_affine);
    return image;
}

static void fill_pair(void) {
    for (int d = 0; d < TINY_SIZE; ++d)
        for (int h = 0; h < TINY_SIZE; ++h)
            for (int w = 0; w < TINY_SIZE; ++w) {
                const int at = (d * TINY_SIZE + h) * TINY_SIZE + w;
                const int inside = d > 3 && d < 12 && h > 3 && h < 13 && w > 2 && w < 12;
                moving_values[at] = (int16_t)(inside ? 1 + (d + 2 * h + w) % 3 : 0);
                fixed_values[at] = inside ? 0.3f + 0.05f * (float)((d * h + w) % 7) : 0.0f;
                label_values[at] = (uint8_t)(inside ? 1 + d / 8 : 0);
            }
}

static vm_session_options usual_session(void) {
    vm_session_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.threads = 1;
    options.engine = getenv("VM_TEST_ENGINE"); /* NULL: auto */
    return options;
}

static vm_register_options usual_options(void) {
    vm_register_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    return options;
}

/* NULL where no engine is installed, which is said; otherwise NULL is a disappointment. */
static vm_session *open_tiny(const tiny_options *model_options) {
    vm_session_options options = usual_session();
    vm_session *session = NULL;
    size_t size = 0;
    char *model = tiny_model(model_options, &size);
    const vm_status status = vm_session_open_memory(model, size, &options, &session);
    free(model);
    if (status == VM_ERROR_UNAVAILABLE)
        fprintf(stderr, "skipped: %s\n", vm_last_error());
    else
        EXPECT(status == VM_OK);
    fill_pair();
    return session;
}

#endif
