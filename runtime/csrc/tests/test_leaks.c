/* Thousands of registrations on one session, and sessions opened and closed: nothing is left over. */
#include <malloc.h>

#include "session_fixture.h"

/* Bytes per call that would be a leak: the smallest object that the library keeps is larger. */
#define LEAST_LEAK 16

static size_t in_use(void) {
    const struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd;
}

static void register_once(vm_session *session, int kind) {
    static const uint32_t outputs[] = {VM_WITH_MOVED, VM_WITH_INVERSE,
                                       VM_WITH_JACOBIAN | VM_WITH_OFFSETS};
    vm_image moving = tiny_image(moving_values, VM_I16), fixed = tiny_image(fixed_values, VM_F32);
    vm_image labels = tiny_image(label_values, VM_U8);
    vm_register_options options = usual_options();
    vm_result *result = NULL;
    options.labels = &labels;
    options.label_count = 1;
    options.outputs = outputs[kind % 3];
    if (kind % 5 == 4) { /* failing must not cost anything either */
        fixed.affine[0] = fixed.affine[4] = fixed.affine[8] = 0;
        EXPECT_STATUS(vm_register(session, &moving, &fixed, &options, &result), VM_ERROR_GRID);
        return;
    }
    EXPECT_STATUS(vm_register(session, &moving, &fixed, &options, &result), VM_OK);
    vm_result_free(result);
}

int main(void) {
    const char *wished = getenv("VM_LEAK_CALLS");
    const int calls = wished ? atoi(wished) : 10000;
    vm_session *session = open_tiny(NULL);
    size_t before, after;
    if (!session) return disappointed ? 1 : SKIPPED;
    for (int i = 0; i < calls / 10; ++i) register_once(session, i);
    before = in_use();
    for (int i = 0; i < calls; ++i) register_once(session, i);
    after = in_use();
    printf("%d registrations: %zu bytes before, %zu after\n", calls, before, after);
    EXPECT(after < before + (size_t)calls * LEAST_LEAK);
    vm_session_free(session);
    return disappointed;
}
