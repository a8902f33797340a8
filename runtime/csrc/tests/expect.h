/* What tests ask: a program that prints where it was disappointed, and returns 1. */
#ifndef EXPECT_H
#define EXPECT_H

#include <stdio.h>

#include "vmruntime.h"

static int disappointed = 0;

#define EXPECT(condition)                                                                   \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition,             \
                    vm_last_error());                                                       \
            disappointed = 1;                                                               \
        }                                                                                   \
    } while (0)

/* A call that has to fail in this way, with something to say. */
#define EXPECT_STATUS(call, wanted)                                                         \
    do {                                                                                    \
        const vm_status got_ = (call);                                                      \
        if (got_ != (wanted) || (got_ != VM_OK && vm_last_error()[0] == '\0')) {            \
            fprintf(stderr, "%s:%d: %s gave %s instead of %s (%s)\n", __FILE__, __LINE__,   \
                    #call, vm_status_name(got_), vm_status_name(wanted), vm_last_error());  \
            disappointed = 1;                                                               \
        }                                                                                   \
    } while (0)

/* What a test returns to ctest where it cannot run. */
enum { SKIPPED = 77 };

#endif
