/* A registration model of a few thousand weights, made here so that tests need no file. */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TINY_SIZE = 16, TINY_STEPS = 3 }; /* voxels along each axis; squarings */

typedef struct tiny_options {
    int free_shape;       /* D, H and W are left open */
    int before, after;    /* resize factors of the tail, 1 or 2; their product is 2 */
    int half;             /* weights in float16 */
    const char *manifest; /* instead of the right one; "" for none */
} tiny_options;

/* A serialized ONNX model, to be freed with free(). Options may be NULL: fixed shape, factor 2 after
 * the integration, float32. */
char *tiny_model(const tiny_options *options, size_t *size);

#ifdef __cplusplus
}
#endif

#endif
