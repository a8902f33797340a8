/* Plans of TensorRT: what can be said of one without a GPU, and that no bytes do harm. */
#include <stdlib.h>
#include <string.h>

#include "expect.h"

#define FIELDS                                                                              \
    "\"shape\":[16,16,16],\"stride\":8,\"orientation\":\"LIA\",\"voxel_size\":[1.0,1.0,1.0]," \
    "\"intensity\":\"none\",\"diffeomorphic\":true,\"int_steps\":3,\"precision\":\"fp32\","   \
    "\"moving_channels\":1,\"fixed_channels\":1"
#define ENGINE(target)                                                                       \
    "\"engine\":{\"target\":\"" target "\",\"version\":\"11.1.0.106\",\"precision\":\"fp16\"," \
    "\"warp\":\"native\",\"compute_capability\":[86,120],\"verified\":false}"
#define MANIFEST(target) "{\"version\":\"1.0\"," FIELDS "," ENGINE(target) "}"

enum { HEADER = 24, MOST = 1 << 16 };

static char plan[MOST];

/* A plan's first bytes and its length, weights that look like a manifest's beginning, the text. */
static size_t make(const char *magic, const char *text) {
    size_t size = HEADER + strlen(text) + 200;
    memset(plan, 0x5a, sizeof plan);
    memcpy(plan, magic, 4);
    for (int i = 0; i < 8; ++i) plan[16 + i] = (char)(size >> 8 * i & 255);
    memcpy(plan + HEADER + 20, "{\"version\":{{{", 14);
    memcpy(plan + HEADER + 100, text, strlen(text));
    return size;
}

static vm_status open_as(size_t size, const char *engine, const char *precision) {
    vm_session_options options;
    vm_session *session = (vm_session *)&options; /* to be overwritten */
    vm_status status;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.threads = 1;
    options.engine = engine;
    options.precision = precision;
    status = vm_session_open_memory(plan, size, &options, &session);
    EXPECT(session == NULL && !strchr(vm_last_error(), '\n'));
    vm_session_free(session);
    return status;
}

/* Whether the plan was understood, and only a GPU or the headers are missing. */
static int is_understood(vm_status status) {
    return (status == VM_ERROR_UNSUPPORTED && strstr(vm_last_error(), "TENSORRT_ROOT")) ||
           (status == VM_ERROR_UNAVAILABLE && strstr(vm_last_error(), "model.onnx"));
}

static void reads_plans(void) {
    const char *magics[] = {"vtrt", "ptrt", "ftrt"};
    for (int i = 0; i < 3; ++i) {
        const size_t size = make(magics[i], MANIFEST("tensorrt"));
        EXPECT(is_understood(open_as(size, NULL, NULL)));
        EXPECT(is_understood(open_as(size, "tensorrt", "auto")));
        EXPECT_STATUS(open_as(size, NULL, "fp32"), VM_ERROR_UNSUPPORTED); /* it is fp16 */
        EXPECT(strstr(vm_last_error(), "fp16") != NULL);
        EXPECT_STATUS(open_as(size, "openvino", NULL), VM_ERROR_UNSUPPORTED);
        EXPECT_STATUS(open_as(size, "onnxruntime", NULL), VM_ERROR_UNSUPPORTED);
        EXPECT(strstr(vm_last_error(), "plan") != NULL);
        EXPECT_STATUS(open_as(size, "abacus", NULL), VM_ERROR_ARGUMENT);
    }
}

static void refuses_plans(void) {
    size_t size = make("vtrt", MANIFEST("rtx"));
    EXPECT_STATUS(open_as(size, NULL, NULL), VM_ERROR_UNSUPPORTED);
    EXPECT(strstr(vm_last_error(), "TensorRT-RTX") != NULL);
    EXPECT_STATUS(open_as(size - 1, NULL, NULL), VM_ERROR_ARTIFACT);
    EXPECT(strstr(vm_last_error(), "damaged") != NULL);
    EXPECT_STATUS(open_as(10, NULL, NULL), VM_ERROR_ARTIFACT);
    EXPECT_STATUS(open_as(4, NULL, NULL), VM_ERROR_ARTIFACT);
    EXPECT_STATUS(open_as(3, NULL, NULL), VM_ERROR_ARTIFACT); /* no plan, and no model */
    size = make("vtrt", "{\"version\":\"1.0\"," FIELDS "}");
    EXPECT_STATUS(open_as(size, NULL, NULL), VM_ERROR_ARTIFACT);
    EXPECT(strstr(vm_last_error(), "without a manifest") != NULL);
    size = make("vtrt", MANIFEST("abacus"));
    EXPECT_STATUS(open_as(size, NULL, NULL), VM_ERROR_ARTIFACT);
    size = make("vtrt", "{\"version\":\"1.0\"," FIELDS ",\"engine\":{}}");
    EXPECT_STATUS(open_as(size, NULL, NULL), VM_ERROR_ARTIFACT);
    size = make("vtrt", "{\"version\":\"1.0\"," FIELDS ",\"engine\":[]}");
    EXPECT_STATUS(open_as(size, NULL, NULL), VM_ERROR_ARTIFACT);
    size = make("vtrt", "{\"version\":\"2.0\"," FIELDS "," ENGINE("tensorrt") "}");
    EXPECT_STATUS(open_as(size, NULL, NULL), VM_ERROR_ARTIFACT);
}

/* A file that repeats the manifest's beginning, as deep and as often as it can. */
static void is_not_kept_busy(void) {
    make("ptrt", "");
    for (int i = HEADER; i + 11 < MOST; i += 11) memcpy(plan + i, "{\"version\":", 11);
    EXPECT_STATUS(open_as(MOST, NULL, NULL), VM_ERROR_ARTIFACT);
    for (int i = HEADER + 11; i < MOST; ++i) plan[i] = '[';
    EXPECT_STATUS(open_as(MOST, NULL, NULL), VM_ERROR_ARTIFACT);
}

static void survives_damage(void) {
    unsigned state = 7;
    for (int i = 0; i < 20000; ++i) {
        const size_t size = make("vtrt", MANIFEST("tensorrt"));
        for (int change = 0; change < 3; ++change) {
            state = state * 1664525u + 1013904223u;
            plan[(state >> 8) % size] = (char)(state >> 3);
        }
        (void)open_as(i % 2 ? size : (state >> 7) % (size + 1), NULL, NULL);
    }
}

int main(void) {
    reads_plans();
    refuses_plans();
    is_not_kept_busy();
    survives_damage();
    return disappointed;
}
