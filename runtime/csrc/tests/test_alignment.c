/* What aligning the scans does with right and wrong input. */
#include <math.h>
#include <stddef.h>

#include "session_fixture.h"

/* A field of view of 24 mm: what is this small gets a pyramid of its own. */
enum { SIZE = 24, COUNT = SIZE * SIZE * SIZE, LARGE = 48 };

static const double places_mm = 0.2; /* what corners may be off by, fifth of a voxel */

static vm_session *session;
static float first_values[COUNT], second_values[COUNT];
static float large_values[LARGE * LARGE * LARGE];

static double blob(const double p[3], double x, double y, double z, double a, double b, double c) {
    const double d[3] = {(p[0] - x) / a, (p[1] - y) / b, (p[2] - z) / c};
    const double depth = 1 - sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    return 1 / (1 + exp(-12 * depth));
}

/* A brain of a few millimetres, without any symmetry. */
static double intensity(const double p[3]) {
    return 60 * blob(p, 0, 0, 0, 7, 8.5, 6) + 45 * blob(p, 0, 1, 0.5, 5.5, 7, 4.5) -
           60 * blob(p, -2, 1, 1, 1.2, 3, 1.6) - 40 * blob(p, 3, -1.5, 0, 1.5, 2, 1.3) +
           55 * blob(p, 0.5, -5, -4, 4, 2.5, 2) + 30 * blob(p, -3.5, -3, 2, 1.3, 1.6, 1.4);
}

static void place(const double matrix[12], const double index[3], double point[3]) {
    for (int row = 0; row < 3; ++row)
        point[row] = matrix[4 * row] * index[0] + matrix[4 * row + 1] * index[1] +
                     matrix[4 * row + 2] * index[2] + matrix[4 * row + 3];
}

/* The brain as it lies on a grid of 1 mm; `affine` says where the grid is in the brain's world. */
static vm_image scan_of(float *values, const double affine[12]) {
    vm_image image;
    memset(&image, 0, sizeof image);
    for (int i = 0; i < COUNT; ++i) {
        const double index[3] = {i / (SIZE * SIZE), i / SIZE % SIZE, i % SIZE};
        double point[3];
        place(affine, index, point);
        values[i] = (float)intensity(point);
    }
    image.data = values;
    image.type = VM_F32;
    image.shape[0] = image.shape[1] = image.shape[2] = SIZE;
    memcpy(image.affine, affine, sizeof image.affine);
    return image;
}

/* LIA and RAS, both around the brain. */
static const double lia[12] = {-1, 0, 0, 11.5, 0, 0, 1, -11.5, 0, -1, 0, 11.5};
static const double ras[12] = {1, 0, 0, -11.9, 0, 1, 0, -11.2, 0, 0, 1, -11.7};

/* 12 degrees about z, and away. */
static const double turned[12] = {0.9781476, -0.2079117, 0, 2, 0.2079117, 0.9781476, 0, -1.5,
                                  0,         0,          1, 1};

/* The same voxels in a world that another one is `matrix` of. */
static vm_image in_other_world(vm_image image, const double matrix[12]) {
    double moved[12];
    for (int column = 0; column < 4; ++column) {
        const double from[3] = {image.affine[column], image.affine[4 + column],
                                image.affine[8 + column]};
        double to[3];
        place(matrix, from, to);
        for (int row = 0; row < 3; ++row)
            moved[4 * row + column] = to[row] - (column < 3 ? matrix[4 * row + 3] : 0);
    }
    memcpy(image.affine, moved, sizeof moved);
    return image;
}

/* Largest distance in mm at the corners of the brain's field of view. */
static double apart(const double one[12], const double other[12]) {
    double most = 0;
    for (int corner = 0; corner < 8; ++corner) {
        const double index[3] = {corner & 1 ? 12 : -12, corner & 2 ? 12 : -12, corner & 4 ? 12 : -12};
        double a[3], b[3], sum = 0;
        place(one, index, a);
        place(other, index, b);
        for (int axis = 0; axis < 3; ++axis) sum += (a[axis] - b[axis]) * (a[axis] - b[axis]);
        most = fmax(most, sqrt(sum));
    }
    return most;
}

static vm_alignment no_alignment(void) {
    vm_alignment alignment;
    memset(&alignment, 0, sizeof alignment);
    alignment.struct_size = sizeof alignment;
    return alignment;
}

static void finds_where_it_lies(void) {
    vm_register_options options = usual_options();
    const vm_image fixed = scan_of(first_values, lia);
    const vm_image moving = in_other_world(scan_of(second_values, ras), turned);
    vm_alignment found = no_alignment();
    vm_result *result = NULL;
    double matrix[12], again[12];
    const char *code;
    /* Neither stands on the model's grid: the default is to align. */
    EXPECT_STATUS(vm_register(session, &moving, &fixed, &options, &result), VM_OK);
    EXPECT_STATUS(vm_result_affine(result, matrix), VM_OK);
    EXPECT(apart(matrix, turned) < places_mm);
    EXPECT_STATUS(vm_result_alignment(result, &found), VM_OK);
    EXPECT(found.computed == 1 && found.plausible == 1 && found.struct_size == sizeof found);
    EXPECT(found.correlation > 0.99 && found.correlation <= 1);
    EXPECT(found.foreground_overlap > 0.9 && found.fixed_outside == 0);
    EXPECT(fabs(found.rotation_degrees - 12) < 1 && fabs(found.scale[0] - 1) < 0.05);
    EXPECT(found.scale[0] >= found.scale[1] && found.scale[1] >= found.scale[2]);
    EXPECT(fabs(found.translation_mm[2] - 1) < 0.3);
    EXPECT_STATUS(vm_result_warning(result, 0, &code, NULL), VM_OK);
    EXPECT(!code || strcmp(code, "affine-forced") != 0);
    EXPECT(vm_result_seconds(result, "align") > 0);
    vm_result_free(result);
    options.affine = VM_AFFINE_AUTO;
    options.full_search = 1;
    EXPECT_STATUS(vm_register(session, &moving, &fixed, &options, &result), VM_OK);
    EXPECT_STATUS(vm_result_affine(result, again), VM_OK);
    EXPECT(apart(again, turned) < places_mm);
    vm_result_free(result);
    /* Programs that were compiled before full_search was there. */
    options.struct_size = offsetof(vm_register_options, full_search);
    EXPECT_STATUS(vm_register(session, &moving, &fixed, &options, &result), VM_OK);
    EXPECT_STATUS(vm_result_affine(result, again), VM_OK);
    EXPECT(memcmp(again, matrix, sizeof matrix) == 0);
    vm_result_free(result);
}

static void does_not_depend_on_threads(void) {
    vm_session_options how = usual_session();
    const vm_image fixed = scan_of(first_values, lia);
    const vm_image moving = in_other_world(scan_of(second_values, ras), turned);
    double matrix[2][12];
    for (int turn = 0; turn < 2; ++turn) {
        vm_session *other = NULL;
        vm_result *result = NULL;
        size_t size = 0;
        char *model = tiny_model(NULL, &size);
        how.threads = turn ? 5 : 1;
        EXPECT_STATUS(vm_session_open_memory(model, size, &how, &other), VM_OK);
        EXPECT_STATUS(vm_register(other, &moving, &fixed, NULL, &result), VM_OK);
        EXPECT_STATUS(vm_result_affine(result, matrix[turn]), VM_OK);
        vm_result_free(result);
        vm_session_free(other);
        free(model);
    }
    EXPECT(memcmp(matrix[0], matrix[1], sizeof matrix[0]) == 0);
}

static void finds_any_rotation(void) {
    static const double half_turn[12] = {1, 0, 0, 1, 0, -1, 0, 2, 0, 0, -1, -1};
    vm_register_options options = usual_options();
    const vm_image fixed = scan_of(first_values, lia);
    const vm_image moving = in_other_world(scan_of(second_values, ras), half_turn);
    vm_alignment found = no_alignment();
    vm_result *result = NULL;
    double matrix[12];
    options.affine = VM_AFFINE_AUTO;
    options.full_search = 1;
    EXPECT_STATUS(vm_register(session, &moving, &fixed, &options, &result), VM_OK);
    EXPECT_STATUS(vm_result_affine(result, matrix), VM_OK);
    EXPECT(apart(matrix, half_turn) < places_mm);
    EXPECT_STATUS(vm_result_alignment(result, &found), VM_OK);
    EXPECT(fabs(found.rotation_degrees - 180) < 2);
    vm_result_free(result);
}

static void refuses_what_is_evidently_wrong(void) {
    static const double far[12] = {1, 0, 0, 500, 0, 1, 0, 0, 0, 0, 1, 0};
    vm_register_options options = usual_options();
    vm_image moving = scan_of(second_values, ras);
    const vm_image fixed = scan_of(first_values, lia), away = in_other_world(moving, far);
    vm_alignment found = no_alignment();
    vm_result *result = NULL;
    const char *code, *text;
    unsigned random = 1;
    options.affine = VM_AFFINE_AUTO;
    EXPECT_STATUS(vm_register(session, &away, &fixed, &options, &result), VM_ERROR_ALIGNMENT);
    EXPECT(!result && strstr(vm_last_error(), "no point in common"));
    for (int i = 0; i < COUNT; ++i) {
        random = random * 1664525u + 1013904223u;
        second_values[i] = (float)(random >> 24);
    }
    moving.data = second_values;
    EXPECT_STATUS(vm_register(session, &moving, &fixed, &options, &result), VM_ERROR_ALIGNMENT);
    EXPECT(!result && strstr(vm_last_error(), "correlate with") && !strchr(vm_last_error(), '\n'));
    options.force = 1;
    EXPECT_STATUS(vm_register(session, &moving, &fixed, &options, &result), VM_OK);
    EXPECT_STATUS(vm_result_alignment(result, &found), VM_OK);
    EXPECT(found.computed == 1 && found.plausible == 0 && found.correlation < 0.93);
    EXPECT_STATUS(vm_result_warning(result, 0, &code, &text), VM_OK);
    EXPECT(code && strcmp(code, "affine-forced") == 0);
    EXPECT_STATUS(vm_result_warning(result, 1, &code, &text), VM_OK);
    EXPECT(code && strcmp(code, "affine-low-correlation") == 0);
    vm_result_free(result);
}

/* Scans in which nothing stands out, or hardly anything. */
static void refuses_empty_scans(void) {
    vm_register_options options = usual_options();
    const vm_image fixed = scan_of(first_values, lia);
    vm_image empty = fixed;
    vm_alignment found = no_alignment();
    vm_result *result = NULL;
    double matrix[12];
    options.affine = VM_AFFINE_AUTO;
    empty.data = large_values;
    empty.shape[0] = empty.shape[1] = empty.shape[2] = LARGE;
    for (int i = 0; i < 12; ++i) empty.affine[i] *= i % 4 == 3 ? 1 : 0.5;
    for (int i = 0; i < LARGE * LARGE * LARGE; ++i) /* its means over blocks are all 0 */
        large_values[i] = (i / (LARGE * LARGE) + i / LARGE + i) % 2 ? 7.0f : -7.0f;
    EXPECT_STATUS(vm_register(session, &empty, &fixed, &options, &result), VM_ERROR_ALIGNMENT);
    EXPECT(strstr(vm_last_error(), "the moving scan is empty, constant"));
    EXPECT_STATUS(vm_register(session, &fixed, &empty, &options, &result), VM_ERROR_ALIGNMENT);
    EXPECT(strstr(vm_last_error(), "the fixed scan is empty, constant"));
    EXPECT_STATUS(vm_register(session, &empty, &empty, &options, &result), VM_ERROR_ALIGNMENT);
    EXPECT(strstr(vm_last_error(), "the moving and the fixed scan is empty"));
    options.force = 1; /* the identity */
    EXPECT_STATUS(vm_register(session, &empty, &fixed, &options, &result), VM_OK);
    EXPECT_STATUS(vm_result_affine(result, matrix), VM_OK);
    EXPECT(matrix[0] == 1 && matrix[5] == 1 && matrix[3] == 0);
    EXPECT_STATUS(vm_result_alignment(result, &found), VM_OK);
    EXPECT(found.computed == 1 && found.plausible == 0);
    vm_result_free(result);
    options.force = 0;
    memset(large_values, 0, sizeof large_values);
    EXPECT_STATUS(vm_register(session, &empty, &fixed, &options, &result), VM_ERROR_ARGUMENT);
    large_values[12345] = 1; /* one voxel alone */
    EXPECT_STATUS(vm_register(session, &empty, &fixed, &options, &result), VM_ERROR_ALIGNMENT);
    EXPECT_STATUS(vm_register(session, &fixed, &empty, &options, &result), VM_ERROR_ALIGNMENT);
}

/* Shapes and voxels of all proportions end in a result or in a refusal. */
static void survives_odd_shapes(void) {
    static const int64_t shapes[][3] = {{1, 24, 24}, {24, 1, 1}, {1, 1, 2}, {2, 2, 2}, {3, 50, 24},
                                        {700, 2, 3}};
    static const double sizes[][3] = {{1, 1, 1}, {1e-5, 1, 1}, {1, 1, 1e-5}, {300, 0.01, 2}};
    vm_register_options options = usual_options();
    const vm_image fixed = scan_of(first_values, lia);
    options.affine = VM_AFFINE_AUTO;
    for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; ++shape)
        for (size_t size = 0; size < sizeof sizes / sizeof *sizes; ++size)
            for (int swapped = 0; swapped < 2; ++swapped) {
                vm_image odd = fixed;
                vm_result *result = NULL;
                vm_status status;
                memcpy(odd.shape, shapes[shape], sizeof odd.shape);
                memset(odd.affine, 0, sizeof odd.affine);
                for (int axis = 0; axis < 3; ++axis) odd.affine[5 * axis] = sizes[size][axis];
                odd.data = first_values + SIZE * SIZE * 10 + SIZE * 8; /* of the brain */
                status = vm_register(session, swapped ? &fixed : &odd, swapped ? &odd : &fixed,
                                     &options, &result);
                EXPECT(status == VM_OK || status == VM_ERROR_ALIGNMENT);
                vm_result_free(result);
            }
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

static void can_be_cancelled(void) {
    vm_register_options options = usual_options();
    const vm_image fixed = scan_of(first_values, lia);
    const vm_image moving = in_other_world(scan_of(second_values, ras), turned);
    vm_result *result = NULL;
    listener self = {0, -1, 0};
    int calls;
    options.affine = VM_AFFINE_AUTO;
    options.progress = count_progress;
    options.context = &self;
    EXPECT_STATUS(vm_register(session, &moving, &fixed, &options, &result), VM_OK);
    EXPECT(self.last == 1 && self.calls > 50); /* often enough to stop it soon */
    vm_result_free(result);
    calls = self.calls;
    for (int end_at = 1; end_at <= calls; end_at += 1 + calls / 12) {
        self.calls = 0;
        self.end_at = end_at;
        self.last = 0;
        result = NULL;
        EXPECT_STATUS(vm_register(session, &moving, &fixed, &options, &result),
                      VM_ERROR_CANCELLED);
        EXPECT(result == NULL);
    }
}

static void asks_in_the_right_way(void) {
    vm_register_options options = usual_options();
    vm_alignment found = no_alignment();
    vm_result *result = NULL;
    const vm_image image = tiny_image(fixed_values, VM_F32);
    EXPECT_STATUS(vm_register(session, &image, &image, &options, &result), VM_OK);
    EXPECT_STATUS(vm_result_alignment(result, &found), VM_OK);
    EXPECT(found.computed == 0 && found.correlation == 0);
    EXPECT_STATUS(vm_result_alignment(NULL, &found), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_result_alignment(result, NULL), VM_ERROR_ARGUMENT);
    found.struct_size = 2;
    EXPECT_STATUS(vm_result_alignment(result, &found), VM_ERROR_ARGUMENT);
    vm_result_free(result);
}

int main(void) {
    session = open_tiny(NULL);
    if (!session) return disappointed ? 1 : SKIPPED;
    finds_where_it_lies();
    does_not_depend_on_threads();
    finds_any_rotation();
    refuses_what_is_evidently_wrong();
    refuses_empty_scans();
    survives_odd_shapes();
    can_be_cancelled();
    asks_in_the_right_way();
    vm_session_free(session);
    return disappointed;
}
