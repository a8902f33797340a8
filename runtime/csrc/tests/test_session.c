/* What a session does with right and wrong input. */
#include <math.h>

#include "session_fixture.h"

static vm_session *session;
static vm_image moving, fixed;

static vm_status registered(const vm_register_options *options, vm_result **result) {
    return vm_register(session, &moving, &fixed, options, result);
}

static void describes_itself(void) {
    vm_session_info info;
    const char *engine = getenv("VM_TEST_ENGINE");
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    EXPECT_STATUS(vm_session_describe(session, &info), VM_OK);
    EXPECT(strcmp(info.engine, engine ? engine : "openvino") == 0);
    EXPECT(*info.engine_version && strcmp(info.precision, "fp32") == 0);
    EXPECT(strcmp(info.orientation, "LIA") == 0 && strcmp(info.intensity, "none") == 0);
    EXPECT(info.shape[0] == TINY_SIZE && info.stride == 8 && info.threads == 1);
    EXPECT(info.int_steps == TINY_STEPS && info.diffeomorphic == 1);
    EXPECT_STATUS(vm_session_describe(NULL, &info), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_session_describe(session, NULL), VM_ERROR_ARGUMENT);
}

static void gives_all_outputs(void) {
    vm_register_options options = usual_options();
    vm_image labels = tiny_image(label_values, VM_U8), image;
    vm_field field;
    vm_result *result = NULL;
    const char *code, *text;
    double matrix[12], point[3] = {0, 0, 0}, largest = 0;
    options.outputs = VM_WITH_MOVED | VM_WITH_INVERSE | VM_WITH_JACOBIAN | VM_WITH_OFFSETS;
    options.labels = &labels;
    options.label_count = 1;
    options.label_mode = VM_LABEL;
    EXPECT_STATUS(registered(&options, &result), VM_OK);
    EXPECT_STATUS(vm_result_moved(result, &image), VM_OK);
    EXPECT(image.type == VM_F32 && image.shape[2] == TINY_SIZE && image.affine[0] == -1);
    EXPECT_STATUS(vm_result_labels(result, 0, &image), VM_OK);
    EXPECT(image.type == VM_U8);
    for (int i = 0; i < VOXELS; ++i) EXPECT(((const uint8_t *)image.data)[i] <= 2);
    EXPECT_STATUS(vm_result_field(result, VM_DISPLACEMENT, &field), VM_OK);
    EXPECT(field.shape[0] == 3 && field.shape[3] == TINY_SIZE);
    for (int i = 0; i < 3 * VOXELS; ++i) largest = fmax(largest, fabs(field.data[i]));
    EXPECT(largest > 0.05 && largest < 20); /* it moves at all */
    EXPECT_STATUS(vm_result_field(result, VM_INVERSE, &field), VM_OK);
    EXPECT_STATUS(vm_result_field(result, VM_JACOBIAN, &field), VM_OK);
    EXPECT(field.shape[0] == 1 && field.shape[1] == TINY_SIZE);
    EXPECT_STATUS(vm_result_field(result, VM_OFFSETS, &field), VM_OK);
    EXPECT(field.shape[0] == TINY_SIZE && field.shape[3] == 3);
    EXPECT_STATUS(vm_result_affine(result, matrix), VM_OK);
    EXPECT(fabs(matrix[0] - 1) < 1e-9 && fabs(matrix[3]) < 1e-9);
    /* The voxel at the world's origin: its offset, and where its point goes. */
    EXPECT_STATUS(vm_result_map_points(result, point, 1, point), VM_OK);
    for (int axis = 0; axis < 3; ++axis)
        EXPECT(fabs(point[axis] - field.data[((8 * TINY_SIZE + 8) * TINY_SIZE + 8) * 3 + axis]) <
               1e-4);
    EXPECT_STATUS(vm_result_warning(result, 99, &code, &text), VM_OK);
    EXPECT(!code && !text);
    EXPECT(vm_result_seconds(result, "network") > 0);
    EXPECT(vm_result_seconds(result, "lunch") == 0);
    vm_result_free(result);
}

static void carries_as_it_registered(void) {
    vm_image image;
    vm_result *result = NULL;
    float *again = malloc(VOXELS * sizeof *again);
    EXPECT_STATUS(registered(NULL, &result), VM_OK);
    EXPECT_STATUS(vm_result_moved(result, &image), VM_OK);
    EXPECT_STATUS(vm_result_carry(result, &moving, VM_LINEAR, NULL, again, VOXELS * sizeof *again),
                  VM_OK);
    EXPECT(memcmp(again, image.data, VOXELS * sizeof *again) == 0);
    EXPECT_STATUS(vm_result_carry(result, &moving, VM_LINEAR, NULL, again, VOXELS),
                  VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_carry(result, &moving, (vm_mode)9, NULL, again, VOXELS * 4),
                  VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_carry(result, NULL, VM_LINEAR, NULL, again, VOXELS * 4),
                  VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_carry(result, &moving, VM_LINEAR, NULL, NULL, VOXELS * 4),
                  VM_ERROR_ARGUMENT);
    vm_result_free(result);
    free(again);
}

/* The same scan in another order of memory gives the same result. */
static void takes_any_order_of_memory(void) {
    vm_image image, turned = fixed;
    vm_result *plain = NULL, *strided = NULL;
    float *values = malloc(VOXELS * sizeof *values);
    EXPECT_STATUS(registered(NULL, &plain), VM_OK);
    for (int d = 0; d < TINY_SIZE; ++d)
        for (int h = 0; h < TINY_SIZE; ++h)
            for (int w = 0; w < TINY_SIZE; ++w)
                values[d + TINY_SIZE * (h + TINY_SIZE * w)] =
                    fixed_values[(d * TINY_SIZE + h) * TINY_SIZE + w];
    turned.data = values;
    turned.strides[0] = 1;
    turned.strides[1] = TINY_SIZE;
    turned.strides[2] = TINY_SIZE * TINY_SIZE;
    EXPECT_STATUS(vm_register(session, &moving, &turned, NULL, &strided), VM_OK);
    EXPECT_STATUS(vm_result_moved(plain, &image), VM_OK);
    turned = image;
    EXPECT_STATUS(vm_result_moved(strided, &image), VM_OK);
    EXPECT(memcmp(turned.data, image.data, VOXELS * sizeof *values) == 0);
    vm_result_free(plain);
    vm_result_free(strided);
    free(values);
}

static void refuses(vm_image changed_moving, const vm_register_options *options,
                    vm_status status) {
    vm_result *result = (vm_result *)&status; /* to be overwritten */
    EXPECT_STATUS(vm_register(session, &changed_moving, &fixed, options, &result), status);
    EXPECT(result == NULL);
}

static void refuses_wrong_scans(void) {
    vm_result *result = NULL;
    vm_image wrong;
    float bad[VOXELS];
    EXPECT_STATUS(vm_register(NULL, &moving, &fixed, NULL, &result), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_register(session, NULL, &fixed, NULL, &result), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_register(session, &moving, NULL, NULL, &result), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_register(session, &moving, &fixed, NULL, NULL), VM_ERROR_ARGUMENT);
    wrong = moving;
    wrong.data = NULL;
    refuses(wrong, NULL, VM_ERROR_ARGUMENT);
    wrong = moving;
    wrong.type = (vm_type)77;
    refuses(wrong, NULL, VM_ERROR_ARGUMENT);
    wrong = moving;
    wrong.shape[1] = 0;
    refuses(wrong, NULL, VM_ERROR_ARGUMENT);
    wrong.shape[1] = -5;
    refuses(wrong, NULL, VM_ERROR_ARGUMENT);
    wrong.shape[0] = wrong.shape[1] = wrong.shape[2] = INT64_MAX;
    refuses(wrong, NULL, VM_ERROR_ARGUMENT);
    wrong = moving;
    wrong.strides[0] = -1;
    refuses(wrong, NULL, VM_ERROR_ARGUMENT);
    wrong = moving;
    wrong.affine[4] = NAN;
    refuses(wrong, NULL, VM_ERROR_GRID);
    wrong = moving;
    memset(wrong.affine, 0, sizeof wrong.affine);
    refuses(wrong, NULL, VM_ERROR_GRID);
    memcpy(wrong.affine, tiny_affine, sizeof tiny_affine);
    wrong.affine[0] = wrong.affine[4] = 0; /* two axes along one line */
    wrong.affine[8] = 1;
    refuses(wrong, NULL, VM_ERROR_GRID);
    for (int i = 0; i < VOXELS; ++i) bad[i] = fixed_values[i];
    bad[100] = NAN;
    refuses(tiny_image(bad, VM_F32), NULL, VM_ERROR_ARGUMENT);
    bad[100] = INFINITY;
    refuses(tiny_image(bad, VM_F32), NULL, VM_ERROR_ARGUMENT);
    bad[100] = 1e30f;
    refuses(tiny_image(bad, VM_F32), NULL, VM_ERROR_ARGUMENT);
    for (int i = 0; i < VOXELS; ++i) bad[i] = 4;
    refuses(tiny_image(bad, VM_F32), NULL, VM_ERROR_ARGUMENT);
}

static void refuses_wrong_options(void) {
    vm_register_options options = usual_options();
    vm_image labels = tiny_image(fixed_values, VM_F32), off_grid = moving;
    options.affine = (vm_affine)50;
    refuses(moving, &options, VM_ERROR_ARGUMENT);
    options.affine = VM_AFFINE_MATRIX; /* of zeros */
    refuses(moving, &options, VM_ERROR_GRID);
    options = usual_options();
    options.affine = VM_AFFINE_NONE;
    off_grid.affine[0] = -1.5;
    refuses(off_grid, &options, VM_ERROR_GRID);
    options.affine = VM_AFFINE_MATRIX;
    options.matrix[0] = options.matrix[5] = options.matrix[10] = 1;
    options.matrix[3] = 5000; /* half a street away */
    refuses(moving, &options, VM_ERROR_ALIGNMENT);
    options = usual_options();
    options.moving_intensity = "divide:0";
    refuses(moving, &options, VM_ERROR_ARGUMENT);
    options = usual_options();
    options.outputs = 1u << 20;
    refuses(moving, &options, VM_ERROR_ARGUMENT);
    options = usual_options();
    options.label_count = 1;
    refuses(moving, &options, VM_ERROR_ARGUMENT);
    options.labels = &labels;
    refuses(moving, &options, VM_ERROR_ARGUMENT);
    labels = tiny_image(label_values, VM_U8);
    labels.affine[3] += 3;
    refuses(moving, &options, VM_ERROR_GRID);
    labels = tiny_image(label_values, VM_U8);
    options.label_mode = VM_LINEAR;
    refuses(moving, &options, VM_ERROR_ARGUMENT);
    options = usual_options();
    options.struct_size = 3;
    refuses(moving, &options, VM_ERROR_ARGUMENT);
}

static void refuses_what_was_not_asked_for(void) {
    vm_result *result = NULL;
    vm_image image;
    vm_field field;
    double matrix[12], bad[3] = {0, NAN, 0};
    EXPECT_STATUS(registered(NULL, &result), VM_OK);
    EXPECT_STATUS(vm_result_labels(result, 0, &image), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_field(result, VM_INVERSE, &field), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_field(result, (vm_array)12, &field), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_moved(result, NULL), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_moved(NULL, &image), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_affine(NULL, matrix), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_map_points(result, bad, 1, bad), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_map_points(result, NULL, 1, bad), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_map_points(result, NULL, 0, NULL), VM_OK);
    EXPECT(vm_result_seconds(NULL, "network") == 0);
    vm_result_free(result);
}

typedef struct listener {
    int calls, end_at;
    double last;
} listener;

static int32_t count_progress(void *context, double share) {
    listener *self = context;
    EXPECT(share >= self->last && share <= 1);
    self->last = share;
    return ++self->calls == self->end_at;
}

static int32_t count_cancel(void *context) {
    listener *self = context;
    return ++self->calls >= self->end_at;
}

/* Ends at every place where it can be ended, and works on afterwards. */
static void can_be_cancelled(void) {
    vm_register_options options = usual_options();
    listener self = {0, -1, 0};
    int calls;
    vm_result *result = NULL;
    options.outputs = VM_WITH_MOVED | VM_WITH_INVERSE;
    options.progress = count_progress;
    options.context = &self;
    EXPECT_STATUS(registered(&options, &result), VM_OK);
    EXPECT(self.last == 1);
    vm_result_free(result);
    calls = self.calls;
    for (int end_at = 1; end_at <= calls; ++end_at) {
        self.calls = 0;
        self.end_at = end_at;
        self.last = 0;
        result = NULL;
        if (registered(&options, &result) == VM_OK && self.calls < end_at) {
            vm_result_free(result); /* it was faster, so that it was asked less often */
            break;
        }
        EXPECT(strstr(vm_last_error(), "cancelled") != NULL);
        EXPECT(result == NULL);
    }
    options.progress = NULL;
    options.cancel = count_cancel;
    self.calls = 0;
    self.end_at = 2;
    EXPECT_STATUS(registered(&options, &result), VM_ERROR_CANCELLED);
    EXPECT_STATUS(registered(NULL, &result), VM_OK);
    vm_result_free(result);
}

static void refuses_wrong_models(void) {
    vm_session_options options = usual_session();
    vm_session *opened = NULL;
    const tiny_options without = {0, 1, 2, 0, ""};
    size_t size = 0;
    char *model = tiny_model(&without, &size);
    EXPECT_STATUS(vm_session_open_memory(model, size, &options, &opened), VM_ERROR_ARTIFACT);
    free(model);
    EXPECT_STATUS(vm_session_open("/nowhere/model.onnx", &options, &opened), VM_ERROR_ARTIFACT);
    EXPECT_STATUS(vm_session_open("/", &options, &opened), VM_ERROR_ARTIFACT);
    EXPECT_STATUS(vm_session_open(NULL, &options, &opened), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_session_open("/nowhere/model.onnx", &options, NULL), VM_ERROR_ARGUMENT);
    model = tiny_model(NULL, &size);
    EXPECT_STATUS(vm_session_open_memory(model, size / 2, &options, &opened), VM_ERROR_ARTIFACT);
    options.engine = "abacus";
    EXPECT_STATUS(vm_session_open_memory(model, size, &options, &opened), VM_ERROR_ARGUMENT);
    options.engine = "openvino";
    options.precision = "fp8";
    EXPECT_STATUS(vm_session_open_memory(model, size, &options, &opened), VM_ERROR_ARGUMENT);
    options.precision = NULL;
    options.threads = -4;
    EXPECT_STATUS(vm_session_open_memory(model, size, &options, &opened), VM_ERROR_ARGUMENT);
    options.threads = 1;
    options.engine_library = "/nowhere/libopenvino_c.so";
    EXPECT_STATUS(vm_session_open_memory(model, size, &options, &opened), VM_ERROR_UNAVAILABLE);
    options.engine_library = "libm.so.6"; /* a library, but another */
    EXPECT_STATUS(vm_session_open_memory(model, size, &options, &opened), VM_ERROR_UNAVAILABLE);
    EXPECT(opened == NULL);
    free(model);
    vm_session_free(NULL);
    vm_result_free(NULL);
}

/* Models of every kind: shapes that are free, halves, a resize before the integration. */
static void registers_with_other_models(void) {
    const tiny_options kinds[] = {{1, 1, 2, 0, NULL}, {0, 2, 1, 0, NULL}, {0, 1, 2, 1, NULL}};
    for (int kind = 0; kind < 3; ++kind) {
        vm_session *other = open_tiny(&kinds[kind]);
        vm_result *result = NULL;
        vm_field field;
        EXPECT_STATUS(vm_register(other, &moving, &fixed, NULL, &result), VM_OK);
        EXPECT_STATUS(vm_result_field(result, VM_DISPLACEMENT, &field), VM_OK);
        EXPECT(field.shape[1] == TINY_SIZE);
        vm_session_free(other); /* results do not need it */
        EXPECT(field.data[0] == field.data[0]);
        vm_result_free(result);
    }
}

int main(void) {
    session = open_tiny(NULL);
    if (!session) return disappointed ? 1 : SKIPPED;
    moving = tiny_image(moving_values, VM_I16);
    fixed = tiny_image(fixed_values, VM_F32);
    describes_itself();
    gives_all_outputs();
    carries_as_it_registered();
    takes_any_order_of_memory();
    refuses_wrong_scans();
    refuses_wrong_options();
    refuses_what_was_not_asked_for();
    can_be_cancelled();
    refuses_wrong_models();
    registers_with_other_models();
    vm_session_free(session);
    return disappointed;
}
