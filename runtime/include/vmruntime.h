/* vmruntime: registration of brain scans with trained VoxelMorph models, for C and C++.
 *
 * Arrays   C order, axes (D, H, W), channels first, unless strides say otherwise. Coordinates and
 *          displacements are in voxels; channel i of a displacement moves along array axis i, and
 *          displacements pull: moved(x) = moving(x + u(x)). Outside a volume everything is 0, and
 *          linear look-ups blend those zeros in; a coordinate of NaN lies outside. Matrices are
 *          3 x 4, row after row. A volume has at most 2^31 - 1 voxels.
 * Memory   The caller owns every array that it passes; nothing is kept after a call has returned but
 *          up to 64 MB of working memory for the next one.
 *          Outputs must not overlap inputs. Objects made here are released by the function that
 *          their documentation names, and by no other.
 * Threads  Every function may be called from several threads at once, as long as no two calls
 *          write to the same array or use the same object. `threads` is the number of threads that
 *          one call may use; 0 stands for all processors. The threads belong to the library and
 *          are kept between calls. Results do not depend on their number.
 * Errors   A function that can fail returns a vm_status. Where it is not VM_OK, vm_last_error()
 *          describes in one line what was wrong with the last such call of the same thread, and
 *          outputs may have been written in part. No exception leaves the library, and it never
 *          ends the process.
 * Structs  Set a struct to zeros, then struct_size to its size as you compiled it: later versions
 *          only add members at the end, and take those that are missing as 0.
 */
#ifndef VMRUNTIME_H
#define VMRUNTIME_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define VM_API
#elif defined(__GNUC__)
#define VM_API __attribute__((visibility("default")))
#else
#define VM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Any number may arrive where one of an enum's is expected; C++ has to be told so. */
#ifdef __cplusplus
#define VM_ENUM(name) enum name : int32_t
#else
#define VM_ENUM(name) enum name
#endif

/* Raised whenever a function or struct changes its meaning or disappears. */
#define VM_ABI_VERSION 1

typedef VM_ENUM(vm_status) {
    VM_OK = 0,
    VM_ERROR_ARGUMENT = 1,    /* NULL, a size, type, mode or number that cannot be used */
    VM_ERROR_MEMORY = 2,      /* not enough memory */
    VM_ERROR_CANCELLED = 3,   /* a progress callback asked to stop */
    VM_ERROR_ARTIFACT = 4,    /* a file that is no usable registration model */
    VM_ERROR_ENGINE = 5,      /* an inference engine failed */
    VM_ERROR_UNAVAILABLE = 6, /* an inference engine cannot be used on this machine */
    VM_ERROR_INTERNAL = 7,    /* a mistake of this library */
    VM_ERROR_GRID = 8,        /* scans or matrices that do not fit, or a singular one */
    VM_ERROR_ALIGNMENT = 9,   /* scans that cannot be aligned, or an affine that leads past them */
    VM_ERROR_UNSUPPORTED = 10 /* right, but not in this version or build */
} vm_status;

/* Types of array elements. */
typedef VM_ENUM(vm_type) {
    VM_U8 = 1,
    VM_I8 = 2,
    VM_U16 = 3,
    VM_I16 = 4,
    VM_U32 = 5,
    VM_I32 = 6,
    VM_U64 = 7,
    VM_I64 = 8,
    VM_F16 = 9, /* IEEE 754 half precision, two bytes */
    VM_F32 = 10,
    VM_F64 = 11
} vm_type;

/* How a volume is looked up between its voxels. */
typedef VM_ENUM(vm_mode) {
    VM_LINEAR = 1,  /* trilinear; gives float32, and float16 for VM_F16 */
    VM_NEAREST = 2, /* the nearest voxel, halves to the even one; keeps type and values */
    VM_LABEL = 3    /* integers only: the label with the largest trilinear share, the smaller one
                       where two are equal; keeps type and values */
} vm_mode;

/* Called now and then during long work, from the calling thread. `fraction` runs from 0 to 1.
 * Anything but 0 as an answer ends the work with VM_ERROR_CANCELLED. */
typedef int32_t (*vm_progress)(void *context, double fraction);

/* The VM_ABI_VERSION that the library was built with. */
VM_API uint32_t vm_abi_version(void);

/* Text of the calling thread's last error; "" if there was none. Valid until its next call. */
VM_API const char *vm_last_error(void);

/* Name of a status, such as "VM_ERROR_ARGUMENT"; of an unknown one, "VM_ERROR_UNKNOWN". */
VM_API const char *vm_status_name(vm_status status);

/* ---- Kernels ----------------------------------------------------------------------------------
 * Shapes are {D, H, W}, all sizes at least 1. */

/* Which instructions the kernels use on this machine: "avx512", "avx2" or "baseline". */
VM_API const char *vm_kernel_instructions(void);

/* out(x) = volume(x + u(x)).
 *
 * volume        (channels, volume_shape) of `type`
 * displacement  (3, shape) float32, voxels of the volume's grid
 * out           (channels, shape); its type: see vm_mode
 * share         with VM_LABEL (channels, shape) float32, the winner's share of the voxel, 0 to 1;
 *               NULL if not wanted
 */
VM_API vm_status vm_warp(const void *volume, vm_type type, int64_t channels,
                         const int64_t volume_shape[3], const float *displacement,
                         const int64_t shape[3], vm_mode mode, void *out, float *share,
                         int32_t threads);

/* Scaling and squaring: v / 2^steps, then `steps` times v = v + v(x + v(x)).
 *
 * velocity, out  (3, shape) float32; they may be the same array
 * steps          0 to 30
 */
VM_API vm_status vm_integrate(const float *velocity, const int64_t shape[3], int32_t steps,
                              float *out, int32_t threads);

/* Trilinear resampling with corner voxels staying at the corners, values times `scale`.
 *
 * field  (channels, shape) float32
 * out    (channels, out_shape) float32
 */
VM_API vm_status vm_resize(const float *field, int64_t channels, const int64_t shape[3],
                           const int64_t out_shape[3], float scale, float *out, int32_t threads);

/* One displacement after the other: out(x) = v(x) + u(x + v(x)).
 *
 * u       (3, u_shape) float32; its voxels are those of v's grid, which may end elsewhere
 * v, out  (3, shape) float32
 */
VM_API vm_status vm_compose(const float *u, const int64_t u_shape[3], const float *v,
                            const int64_t shape[3], float *out, int32_t threads);

/* Determinant of the Jacobian of x + u(x), central differences, one-sided at the border.
 *
 * displacement  (3, shape) float32, every size at least 2
 * out           (shape) float32
 */
VM_API vm_status vm_jacobian_determinant(const float *displacement, const int64_t shape[3],
                                         float *out, int32_t threads);

/* The inverse v of a displacement u: v(x) + u(x + v(x)) = 0, by Newton's method.
 *
 * displacement  (3, shape) float32, every size at least 2; it fades beyond its grid as in vm_map
 * start         (3, shape) float32, an inverse to improve; or NULL
 * out           (3, shape) float32
 * progress      may be NULL
 */
VM_API vm_status vm_invert(const float *displacement, const int64_t shape[3], const float *start,
                           float *out, int32_t threads, vm_progress progress, void *context);

/* Where the voxels of an output grid look: output voxel -> model voxel, plus the displacement
 * there, -> moving voxel or world position. The displacement is that of the nearest place of its
 * grid, times a weight that fades from 1 at the grid's border to 0 sixteen voxels outside. */
typedef struct vm_map {
    size_t struct_size;
    int64_t shape[3];          /* of the output */
    double to_model[12];       /* output voxel -> model voxel */
    const float *displacement; /* (3, model_shape) float32; NULL for none */
    int64_t model_shape[3];    /* not looked at without a displacement */
    double to_moving[12];      /* model voxel -> where to look */
} vm_map;

/* One volume to look up, and where to put the result. */
typedef struct vm_look {
    size_t struct_size;
    const void *volume;  /* (D, H, W) */
    int64_t shape[3];    /* of the volume */
    int64_t strides[3];  /* in elements, at least 1; all 0: C order */
    vm_type type;        /* of the volume */
    vm_mode mode;
    void *out;           /* (shape of the map), C order; its type: see vm_mode */
    float *share;        /* as in vm_warp; NULL if not wanted */
} vm_look;

/* Look volumes up through a map: one interpolation, however many parts the map has.
 * Several volumes share the work of finding the places. */
VM_API vm_status vm_carry(const vm_map *map, const vm_look *looks, size_t count, int32_t threads);

/* The places themselves, of planes first <= d < last of the output.
 *
 * out  (3, last - first, H, W) float32, channel i is the coordinate along axis i
 */
VM_API vm_status vm_places(const vm_map *map, int64_t first, int64_t last, float *out,
                           int32_t threads);

/* How far every output voxel is moved: its place in the map minus `here` of its index.
 *
 * here  output voxel -> world (the map's to_moving must give world positions as well)
 * out   (shape of the map, 3) float32
 */
VM_API vm_status vm_offsets(const vm_map *map, const double here[12], float *out,
                            int32_t threads);

/* Look one volume up through an affine alone: output voxel -> volume voxel; out has `shape`. */
VM_API vm_status vm_affine_resample(const vm_look *look, const double matrix[12],
                                    const int64_t shape[3], int32_t threads);

/* The first layers of a U-Net in one pass: 3x3x3 convolution with zeros outside, LeakyReLU, 2x2x2
 * max-pooling. VM_ERROR_UNSUPPORTED where the processor lacks AVX-512.
 *
 * volumes  `channels` arrays of `shape`, whose sizes are even
 * weights  (out_channels, channels, 3, 3, 3)
 * bias     (out_channels), a multiple of 16
 * slope    of LeakyReLU below 0; 0 to 1
 * out      (D / 2, H / 2, W / 2, out_channels): the channels come last
 */
VM_API vm_status vm_pooled_convolution(const float *const *volumes, int64_t channels,
                                       const int64_t shape[3], const float *weights,
                                       const float *bias, int64_t out_channels, float slope,
                                       float *out, int32_t threads);

/* ---- Models -----------------------------------------------------------------------------------
 * The U-Net of a model.onnx, cut off where its tail begins: what an engine without a warp runs.
 * Inputs "moving" and "fixed", output "velocity" (1, 3, d, h, w) float32; standard operators only.
 * The tail leads from there to the displacement:
 *
 *     field = resize(velocity, before); field = integrate(field, int_steps);
 *     displacement = resize(field, after)
 *
 * where resize by a factor is vm_resize to the sizes times the factor with scale = factor. */
typedef struct vm_unet vm_unet;

typedef struct vm_unet_options {
    size_t struct_size;
    /* Replace conv3(concat(up2(u), skip)) by ConvTranspose(k4, s2, p1)(u) + conv3(skip): the same
     * in real arithmetic, a third less work. For OpenVINO; onnxruntime needs far more memory. */
    int32_t rewrite;
} vm_unet_options;

typedef struct vm_unet_info {
    size_t struct_size;
    int32_t before_numerator, before_denominator; /* factor of the resize before the integration */
    int32_t int_steps;                            /* 0: the velocity is the displacement itself */
    int32_t after_numerator, after_denominator;   /* factor of the resize after it */
    int32_t diffeomorphic;                        /* minus the velocity gives the inverse */
    int32_t half;                                 /* the weights are float16 */
    int32_t rewritten;                            /* how many convolutions were replaced */
    int32_t stride;                               /* every axis is a multiple of it */
    int64_t shape[3];                             /* (D, H, W); all 0: any multiple of `stride` */
    const char *manifest;                         /* JSON, as stored; the vm_unet's own */
} vm_unet_info;

/* Cut a model that is in memory, which may be freed afterwards. `options` may be NULL.
 * Release *unet with vm_unet_free. */
VM_API vm_status vm_unet_from_onnx(const void *model, size_t size, const vm_unet_options *options,
                                   vm_unet **unet);

/* The U-Net as a serialized ONNX model; the vm_unet's own. */
VM_API const void *vm_unet_data(const vm_unet *unet, size_t *size);

VM_API vm_status vm_unet_describe(const vm_unet *unet, vm_unet_info *info);

/* NULL is passed over. */
VM_API void vm_unet_free(vm_unet *unet);

/* ---- Sessions ---------------------------------------------------------------------------------
 * A model in an engine, ready to register many pairs. vm_register may be called from several
 * threads at once on one session: networks run one after another, all else side by side. */
typedef struct vm_session vm_session;

typedef struct vm_session_options {
    size_t struct_size;
    const char *engine;         /* "auto" (or NULL): "openvino" for a model.onnx, "tensorrt" for a
                                   model.plan; "openvino", "tensorrt"; "onnxruntime": the reference.
                                   VM_ERROR_UNSUPPORTED where the library was built without it */
    const char *engine_library; /* file of the engine's library; NULL: $VM_OPENVINO_LIBRARY,
                                   $VM_ONNXRUNTIME_LIBRARY or $VM_TENSORRT_LIBRARY, else where the
                                   loader or a Python environment has it */
    const char *precision;      /* NULL: "fp32", or what a plan was built in; "bf16"; "auto": bf16
                                   where the engine is openvino and the processor has instructions
                                   for it */
    const char *cache_dir;      /* folder where the engine may keep what it compiled; NULL: nowhere */
    int32_t threads;            /* for the engine and the kernels; 0: all processors */
    int32_t plain;              /* 1: leave the rewrite of vm_unet_options undone, which openvino
                                   gets */
} vm_session_options;

typedef struct vm_session_info {
    size_t struct_size;
    const char *engine;         /* "openvino", "onnxruntime" or "tensorrt" */
    const char *engine_version; /* as the engine says it */
    const char *precision;      /* what runs: "fp32" or "bf16"; a plan's "fp32" or "fp16" */
    const char *manifest;       /* JSON, as stored in the model */
    const char *orientation;    /* world direction of each axis of the model's grid: "LIA" */
    const char *intensity;      /* rule for the scans: "divide:255" */
    int64_t shape[3];           /* model's grid (D, H, W); all 0: any multiple of `stride` */
    int64_t stride;
    double voxel_size[3];       /* mm */
    int32_t threads;
    int32_t diffeomorphic;
    int32_t int_steps;
} vm_session_info;

/* Load a model.onnx that vm-export made, or a model.plan that it built for TensorRT, which needs an
 * NVIDIA GPU: VM_ERROR_UNAVAILABLE where there is none. `options` may be NULL. Release with
 * vm_session_free. */
VM_API vm_status vm_session_open(const char *path, const vm_session_options *options,
                                 vm_session **session);

/* The same from memory, which may be freed afterwards. */
VM_API vm_status vm_session_open_memory(const void *model, size_t size,
                                        const vm_session_options *options, vm_session **session);

/* The texts are the session's own. */
VM_API vm_status vm_session_describe(const vm_session *session, vm_session_info *info);

/* No call may be using it. NULL is passed over. Results stay usable. */
VM_API void vm_session_free(vm_session *session);

/* ---- Registration ---------------------------------------------------------------------------- */

/* Values on a grid. */
typedef struct vm_image {
    const void *data;
    int64_t shape[3];   /* (D, H, W) */
    int64_t strides[3]; /* in elements, at least 1; all 0: C order. A NIfTI file's own order is
                           shape (X, Y, Z) with strides (1, X, X * Y). */
    double affine[12];  /* voxel index -> RAS+ mm */
    vm_type type;
} vm_image;

typedef VM_ENUM(vm_affine) {
    VM_AFFINE_DEFAULT = 0, /* NONE where both scans stand on the model's grid at one place, else
                              AUTO */
    VM_AFFINE_NONE = 1,    /* voxel by voxel; both scans must stand on the model's grid */
    VM_AFFINE_HEADER = 2,  /* both scans lie in one world already */
    VM_AFFINE_MATRIX = 3,  /* `matrix` of the options */
    VM_AFFINE_AUTO = 4     /* align the scans: twelve degrees of freedom, by correlation. They have
                              to be of the same contrast, both skull-stripped or both not. An
                              alignment that is evidently wrong is VM_ERROR_ALIGNMENT */
} vm_affine;

/* Asked often during a registration, from the calling thread; anything but 0 as an answer ends it
 * with VM_ERROR_CANCELLED. An engine that can be interrupted is. */
typedef int32_t (*vm_cancel)(void *context);

/* What vm_register computes besides the displacement; to be added up. */
enum { VM_WITH_MOVED = 1, VM_WITH_INVERSE = 2, VM_WITH_JACOBIAN = 4, VM_WITH_OFFSETS = 8 };

typedef struct vm_register_options {
    size_t struct_size;
    vm_affine affine;
    double matrix[12];            /* fixed world -> moving world, RAS+ mm */
    const char *moving_intensity; /* rules to use instead of the model's own: divide:NUMBER, */
    const char *fixed_intensity;  /* minmax, percentile:LOW,HIGH or none; NULL: the model's */
    const vm_image *labels;       /* integer images on the moving scan's grid, to be carried over */
    size_t label_count;
    vm_mode label_mode;           /* VM_NEAREST (or 0) or VM_LABEL */
    uint32_t outputs;             /* VM_WITH_...; 0: VM_WITH_MOVED */
    int32_t force;                /* 1: go on where the affine leads past a scan, or where the
                                     alignment is evidently wrong */
    vm_progress progress;         /* NULL: none */
    vm_cancel cancel;             /* NULL: none */
    void *context;                /* what both are called with */
    int32_t full_search;          /* 1: VM_AFFINE_AUTO looks at all rotations; 0: at those of some
                                     60 degrees, and at all where that ends in doubt */
} vm_register_options;

typedef struct vm_result vm_result;

/* Register a pair of single-channel scans of any orientation, voxel size and type, without NaN.
 * `options` may be NULL. Release *result with vm_result_free. */
VM_API vm_status vm_register(vm_session *session, const vm_image *moving, const vm_image *fixed,
                             const vm_register_options *options, vm_result **result);

/* The moving scan on the fixed scan's grid, float32, in its own intensities. */
VM_API vm_status vm_result_moved(const vm_result *result, vm_image *image);

/* A segmentation of the options on the fixed scan's grid, in its own type. */
VM_API vm_status vm_result_labels(const vm_result *result, size_t index, vm_image *image);

/* Float32 arrays of a result, its own. */
typedef VM_ENUM(vm_array) {
    VM_DISPLACEMENT = 0, /* (3, d, h, w), voxels of the model's grid, as it lies in the fixed world */
    VM_INVERSE = 1,      /* the same for the way back, in the moving world; VM_WITH_INVERSE */
    VM_OFFSETS = 2,      /* (D, H, W, 3), RAS+ mm: where a voxel of the fixed scan looks, minus
                            where it is; VM_WITH_OFFSETS */
    VM_JACOBIAN = 3      /* (1, D, H, W): volume change on the fixed scan's grid, affine included;
                            VM_WITH_JACOBIAN */
} vm_array;

typedef struct vm_field {
    const float *data;
    int64_t shape[4];
    double affine[12]; /* voxel index of its grid -> RAS+ mm */
} vm_field;

VM_API vm_status vm_result_field(const vm_result *result, vm_array which, vm_field *field);

/* A, fixed world -> moving world, RAS+ mm: a place p of the fixed scan looks at A(p + u(p)). */
VM_API vm_status vm_result_affine(const vm_result *result, double matrix[12]);

/* How the scans were aligned, and how far that can be trusted. */
typedef struct vm_alignment {
    size_t struct_size;
    int32_t computed;          /* 0: the affine came from elsewhere, all else is 0 */
    int32_t plausible;         /* 0: evidently wrong, and forced */
    double correlation;        /* of the scans at 8 mm; right ones of brains reach 0.965 */
    double foreground_overlap; /* Dice of the two foregrounds there */
    double fixed_outside;      /* share of the fixed foreground outside the moving scan, 0 to 1 */
    double scale[3];           /* singular values of the linear part, largest first */
    double rotation_degrees;   /* of the rotation that is closest to it */
    double translation_mm[3];  /* how far the fixed foreground's centre moves */
} vm_alignment;

VM_API vm_status vm_result_alignment(const vm_result *result, vm_alignment *alignment);

/* Carry another image of the moving subject over, from wherever it lies in the moving world.
 *
 * onto      its shape and affine say where the result lies, in the fixed world; its data are not
 *           looked at; NULL: the fixed scan's grid
 * values    C order; float32 for VM_LINEAR, else of the image's type
 * capacity  bytes there are for it
 */
VM_API vm_status vm_result_carry(const vm_result *result, const vm_image *image, vm_mode mode,
                                 const vm_image *onto, void *values, size_t capacity);

/* Places (count, 3) of the fixed scan, RAS+ mm, to where they look in the moving scan. `mapped` may
 * be `points`. */
VM_API vm_status vm_result_map_points(const vm_result *result, const double *points, size_t count,
                                      double *mapped);

/* What looks doubtful: a code that stays the same between versions, and a line of text. Both are
 * NULL past the last one. */
VM_API vm_status vm_result_warning(const vm_result *result, size_t index, const char **code,
                                   const char **text);

/* Seconds that a stage took: "prepare", "align", "network", "tail", "invert" or "resample"; 0 for
 * others. */
VM_API double vm_result_seconds(const vm_result *result, const char *stage);

/* NULL is passed over. */
VM_API void vm_result_free(vm_result *result);

#ifdef __cplusplus
}
#endif

#endif
