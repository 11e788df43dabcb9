/* device: the facts asked from the driver, and local memory by trial. */
/* clCreateCommandQueue is the one that 1.x devices have too. */
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cl_nv_device_attribute_query, cl_amd_device_attribute_query: numbers of our own
 * where the headers lack them. */
#define NV_COMPUTE_CAPABILITY_MAJOR 0x4000
#define NV_COMPUTE_CAPABILITY_MINOR 0x4001

/* Copies a driver's string without line breaks, cut to fit.  Blanks are those of ASCII, whatever
 * the application's locale says: a byte of a longer character is none. */
static void tidy(char *out, size_t capacity, const char *in) {
    static const char blanks[] = " \t\n\v\f\r";
    size_t length = 0;
    in += strspn(in, blanks);
    for (; *in && length + 1 < capacity; in++) {
        out[length++] = strchr(blanks, *in) ? ' ' : *in;
    }
    while (length && out[length - 1] == ' ') {
        length--;
    }
    out[length] = '\0';
}

static cl_int read_string(cl_device_id id, cl_platform_id platform, cl_uint what, char *out,
                          size_t capacity) {
    size_t size = 0;
    cl_int code = platform ? clGetPlatformInfo(platform, what, 0, NULL, &size)
                           : clGetDeviceInfo(id, what, 0, NULL, &size);
    if (code != CL_SUCCESS) {
        return code;
    }
    char *value = calloc(1, size + 1);
    if (!value) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    code = platform ? clGetPlatformInfo(platform, what, size, value, NULL)
                    : clGetDeviceInfo(id, what, size, value, NULL);
    if (code == CL_SUCCESS) {
        tidy(out, capacity, value);
    }
    free(value);
    return code;
}

static bool has_word(const char *words, const char *name) {
    const char *word;
    for (size_t length; (length = text_word(&words, &word)) > 0;) {
        if (text_is(word, length, name)) {
            return true;
        }
    }
    return false;
}

/* The caller frees *extensions. */
static cl_int read_extensions(cl_device_id id, char **extensions) {
    size_t size = 0;
    *extensions = NULL;
    cl_int code = clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, 0, NULL, &size);
    if (code == CL_SUCCESS && !(*extensions = calloc(1, size + 1))) {
        code = CL_OUT_OF_HOST_MEMORY;
    }
    if (code == CL_SUCCESS) {
        code = clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, size, *extensions, NULL);
    }
    if (code != CL_SUCCESS) {
        free(*extensions);
        *extensions = NULL;
    }
    return code;
}

bool device_has_extension(cl_device_id id, const char *name) {
    char *extensions;
    const bool has = read_extensions(id, &extensions) == CL_SUCCESS && has_word(extensions, name);
    free(extensions);
    return has;
}

static void name_architecture(struct device *d, cl_device_id id, const char *extensions) {
    cl_uint major = 0, minor = 0;
    if (has_word(extensions, "cl_nv_device_attribute_query") &&
        clGetDeviceInfo(id, NV_COMPUTE_CAPABILITY_MAJOR, sizeof major, &major, NULL) ==
            CL_SUCCESS &&
        clGetDeviceInfo(id, NV_COMPUTE_CAPABILITY_MINOR, sizeof minor, &minor, NULL) ==
            CL_SUCCESS) {
        snprintf(d->architecture, sizeof d->architecture, "nvidia/%u.%u", major, minor);
    } else if (d->type == DEVICE_CPU) {
        snprintf(d->architecture, sizeof d->architecture, "cpu/%llu",
                 (unsigned long long)d->float_width);
    } else if (strncmp(d->name, "gfx", 3) == 0) {
        snprintf(d->architecture, sizeof d->architecture, "amd/%.*s", (int)strcspn(d->name, ":"),
                 d->name);
    } else if (strstr(d->vendor, "Intel")) {
        snprintf(d->architecture, sizeof d->architecture, "intel");
    }
}

cl_int device_read(struct device *d, cl_device_id id, struct status *status) {
    *d = (struct device){0};
    cl_platform_id platform = NULL;
    cl_device_type type = 0;
    cl_uint compute_units = 0, width = 0, address_bits = 0, base_bits = 0, dimensions = 0;
    size_t work_group = 0, work_items[16] = {0}, argument_bytes = 0;
    cl_ulong local_memory = 0;
    static const char failed[] = "device: the driver does not answer %s";
#define READ(what, variable)                                                           \
    do {                                                                               \
        cl_int code_ = clGetDeviceInfo(id, what, sizeof(variable), &(variable), NULL); \
        if (code_ != CL_SUCCESS) {                                                     \
            return status_set(status, code_, failed, #what);                           \
        }                                                                              \
    } while (0)
    READ(CL_DEVICE_PLATFORM, platform);
    READ(CL_DEVICE_TYPE, type);
    READ(CL_DEVICE_MAX_COMPUTE_UNITS, compute_units);
    READ(CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, width);
    READ(CL_DEVICE_ADDRESS_BITS, address_bits);
    READ(CL_DEVICE_MEM_BASE_ADDR_ALIGN, base_bits);
    READ(CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS, dimensions);
    READ(CL_DEVICE_MAX_WORK_GROUP_SIZE, work_group);
    READ(CL_DEVICE_LOCAL_MEM_SIZE, local_memory);
    READ(CL_DEVICE_MAX_PARAMETER_SIZE, argument_bytes);
#undef READ
    cl_int code = dimensions > 16 ? CL_INVALID_DEVICE
                                  : clGetDeviceInfo(id, CL_DEVICE_MAX_WORK_ITEM_SIZES,
                                                    dimensions * sizeof(size_t), work_items, NULL);
    if (code != CL_SUCCESS) {
        return status_set(status, code, failed, "CL_DEVICE_MAX_WORK_ITEM_SIZES");
    }
    const struct {
        cl_uint what;
        cl_platform_id platform;
        char *out;
    } strings[] = {
        {CL_DEVICE_NAME, NULL, d->name},
        {CL_DEVICE_VENDOR, NULL, d->vendor},
        {CL_DRIVER_VERSION, NULL, d->driver},
        {CL_PLATFORM_NAME, platform, d->platform},
    };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        code =
            read_string(id, strings[i].platform, strings[i].what, strings[i].out, sizeof d->name);
        if (code != CL_SUCCESS) {
            return status_set(status, code, failed, "with its name");
        }
    }
    d->type = type & CL_DEVICE_TYPE_CPU   ? DEVICE_CPU
              : type & CL_DEVICE_TYPE_GPU ? DEVICE_GPU
                                          : DEVICE_OTHER;
    d->compute_units = compute_units ? compute_units : 1;
    d->float_width = width ? width : 1;
    d->address_bits = address_bits;
    d->base_alignment = base_bits / 8;
    d->work_group = work_group ? work_group : 1;
    d->work_items = work_items[0] ? work_items[0] : 1;
    d->local_memory = d->local_memory_reported = local_memory;
    d->argument_bytes = argument_bytes;
    /* Mesa's llvmpipe leaves a shader's loops after 65,535 iterations in all (its
     * LP_MAX_TGSI_LOOP_ITERATIONS) and reports success. */
    d->loop_limit = strstr(d->name, "llvmpipe") ? 65535 : 0;

#ifdef CL_VERSION_2_0
    /* OpenCL 1.x devices do not know this question. */
    cl_device_svm_capabilities svm = 0;
    if (clGetDeviceInfo(id, CL_DEVICE_SVM_CAPABILITIES, sizeof svm, &svm, NULL) == CL_SUCCESS) {
        d->svm = svm != 0;
    }
#endif
    char *extensions;
    code = read_extensions(id, &extensions);
    if (code != CL_SUCCESS) {
        return status_set(status, code, failed, "CL_DEVICE_EXTENSIONS");
    }
    name_architecture(d, id, extensions);
    free(extensions);
    return CL_SUCCESS;
}

/*
 * One work-group fills a local array of `words` words, reads it back in another
 * order and returns the sum: the array exists and holds its content.
 */
static const char probe_source[] =
    "__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void probe(__global uint *sums)\n"
    "{\n"
    "    __local uint words[WORDS];\n"
    "    const uint me = (uint)get_local_id(0);\n"
    "    for (uint i = me; i < WORDS; i += 64) {\n"
    "        words[i] = i * 2654435761u;\n"
    "    }\n"
    "    barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    uint sum = 0;\n"
    "    for (uint i = me; i < WORDS; i += 64) {\n"
    "        sum += words[WORDS - 1 - i] ^ i;\n"
    "    }\n"
    "    sums[me] = sum;\n"
    "}\n";

static bool probe_sums_right(const cl_uint *sums, cl_uint words) {
    for (cl_uint me = 0; me < 64; me++) {
        cl_uint sum = 0;
        for (cl_uint i = me; i < words; i += 64) {
            sum += (words - 1 - i) * 2654435761u ^ i;
        }
        if (sum != sums[me]) {
            return false;
        }
    }
    return true;
}

static bool probe_runs(cl_context context, cl_command_queue queue, cl_device_id id, cl_mem sums,
                       cl_uint words) {
    char head[64];
    snprintf(head, sizeof head, "#define WORDS %uu\n", words);
    const char *strings[] = {head, probe_source};
    const size_t items = 64;
    cl_uint host[64];
    bool right = false;
    cl_kernel kernel = NULL;
    cl_int code;
    cl_program program = clCreateProgramWithSource(context, 2, strings, NULL, &code);
    if (code == CL_SUCCESS && clBuildProgram(program, 1, &id, "", NULL, NULL) == CL_SUCCESS) {
        kernel = clCreateKernel(program, "probe", &code);
        right = code == CL_SUCCESS && clSetKernelArg(kernel, 0, sizeof sums, &sums) == CL_SUCCESS &&
                clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, &items, 0, NULL, NULL) ==
                    CL_SUCCESS &&
                clEnqueueReadBuffer(queue, sums, CL_TRUE, 0, sizeof host, host, 0, NULL, NULL) ==
                    CL_SUCCESS &&
                probe_sums_right(host, words);
    }
    if (kernel) {
        clReleaseKernel(kernel);
    }
    if (program) {
        clReleaseProgram(program);
    }
    return right;
}

/*
 * NVIDIA reports 48 KiB, whatever the chip has; arrays declared in a kernel may be
 * larger.  The table says what is worth a trial; the trial decides.
 */
cl_int device_probe(struct device *d, cl_context context, cl_device_id id, struct status *status) {
    static const struct {
        const char *architecture;
        cl_uint kibibytes; /* a work-group's maximum, CUDA programming guide, table of
                              technical specifications per compute capability */
    } known[] = {
        {"nvidia/7.0", 96},   {"nvidia/7.2", 96},   {"nvidia/7.5", 64},  {"nvidia/8.0", 163},
        {"nvidia/8.6", 99},   {"nvidia/8.7", 163},  {"nvidia/8.9", 99},  {"nvidia/9.0", 227},
        {"nvidia/10.0", 227}, {"nvidia/10.3", 227}, {"nvidia/12.0", 99}, {"nvidia/12.1", 99},
    };
    cl_uint most = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(d->architecture, known[i].architecture) == 0) {
            most = known[i].kibibytes;
        }
    }
    if (most * 1024ull <= d->local_memory_reported) {
        return CL_SUCCESS;
    }
    cl_int code;
    cl_mem sums = NULL;
    cl_command_queue queue = clCreateCommandQueue(context, id, 0, &code);
    if (code == CL_SUCCESS) {
        sums = clCreateBuffer(context, CL_MEM_WRITE_ONLY, 64 * sizeof(cl_uint), NULL, &code);
    }
    /* The driver keeps a part for itself (1 KiB on 9.0): try the maximum less 0 ... 3 KiB. */
    for (cl_uint less = 0; code == CL_SUCCESS && less < 4; less++) {
        cl_uint kibibytes = most - less;
        if (probe_runs(context, queue, id, sums, kibibytes * 256)) {
            d->local_memory = kibibytes * 1024ull;
            break;
        }
    }
    if (sums) {
        clReleaseMemObject(sums);
    }
    if (queue) {
        clReleaseCommandQueue(queue);
    }
    return code == CL_SUCCESS ? code
                              : status_set(status, code,
                                           "device: no queue or buffer for the trial of its local "
                                           "memory");
}
