/*
 * Non-local means: a photograph denoised by attention.
 *
 *     03_denoise IN.png OUT.png        adds noise to IN (OUT-noisy.png), removes it (OUT.png)
 *
 * A pixel's new colour is the mean of all pixels of the picture, weighted by how much
 * the patches around them look alike (Buades, Coll, Morel 2005):
 *
 *     new_i = sum_j w_ij pixel_j / sum_j w_ij
 *     w_ij  = exp(-|patch_i - patch_j|^2 / (n h^2) - |place_i - place_j|^2 / reach^2)
 *
 * With x_i = (patch_i / (sqrt(n) h), place_i / reach) the exponent is -|x_i - x_j|^2.
 * Its part -|x_i|^2 cancels in the quotient, and what is left is one inner product:
 *
 *     q_i = (2 x_i, 1)    k_j = (x_j, -|x_j|^2)    v_j = pixel_j
 *     q_i . k_j = 2 x_i . x_j - |x_j|^2            softmax(q k^T) v with scale 1
 *
 * Centring colours and places changes no difference, but keeps rounding errors small.
 */
#include <clattn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "picture.h"

const char program[] = "03_denoise";

static const char usage[] =
    "usage: 03_denoise [OPTION...] IN.png OUT.png\n"
    "  IN is a clean picture: noise is added, OUT-noisy.png shows it, OUT.png is denoised.\n"
    "  --sigma S       standard deviation of the noise, of 255 (default 25)\n"
    "  --noisy         IN is already noisy (of about sigma): add nothing\n"
    "  --clean C.png   likewise, and C.png is the clean picture to measure against\n"
    "  --patch P       side of a patch, odd (default 5 for colour, 7 for gray)\n"
    "  --h H           strength, of 255 (default 0.85 sigma)\n"
    "  --reach R       how far similar patches count, in pixels (default 12; 0: everywhere)\n"
    "  --crop WxH      use only the middle of IN\n"
    "  --device N|NAME the N-th OpenCL device, or one whose platform or name contains NAME\n"
    "  --variant V     let clattn use this variant, \"fwd_tile BLOCK_M=64\"\n";

struct options {
    double sigma, h, reach;
    int patch, noisy, crop_width, crop_height;
    const char *clean, *device, *variant, *in, *out;
};

/* What attention was asked and what it cost. */
struct run {
    size_t pixels, dim, dim_v;
    double seconds;
};

/* ---- Pictures ----------------------------------------------------------- */

static void read_picture(struct picture *picture, const char *path, const struct options *options) {
    char why[PICTURE_MESSAGE];
    if (!picture_read(picture, path, why))
        die(EXIT_FAILURE, "%s: %s", path, why);
    if (options->crop_width > 0 &&
        !picture_crop(picture, options->crop_width, options->crop_height))
        die(EXIT_FAILURE, "%s: %d x %d pixels cannot be cropped to %d x %d", path, picture->width,
            picture->height, options->crop_width, options->crop_height);
}

static void write_picture(const struct picture *picture, const char *path) {
    char why[PICTURE_MESSAGE];
    if (!picture_write(picture, path, why))
        die(EXIT_FAILURE, "%s: %s", path, why);
}

/* ---- Patches ------------------------------------------------------------ */

/* The border is a mirror: ... 2 1 0 1 2 ... */
static int mirror(int i, int size) {
    int period = size > 1 ? 2 * (size - 1) : 1;
    i = abs(i) % period;
    return i < size ? i : period - i;
}

/* q and k [pixels, dim], v [pixels, channels]; dim = patch^2 channels + 2 + 1. */
static void make_tensors(const struct picture *picture, const struct options *options, float *q,
                         float *k, float *v) {
    int radius = options->patch / 2, channels = picture->channels;
    int n = options->patch * options->patch * channels;
    size_t pixels = (size_t)picture->width * (size_t)picture->height;
    double mean[3] = {0.0, 0.0, 0.0};
    double colour_unit = 1.0 / (sqrt(n) * options->h);
    double place_unit = options->reach > 0.0 ? 1.0 / options->reach : 0.0;

    for (size_t i = 0; i < picture_size(picture); i++)
        mean[i % (size_t)channels] += picture->pixels[i] / (double)pixels;
    for (int y = 0; y < picture->height; y++)
        for (int x = 0; x < picture->width; x++) {
            const float *key = k;
            double norm = 0.0;
            for (int dy = -radius; dy <= radius; dy++)
                for (int dx = -radius; dx <= radius; dx++)
                    for (int c = 0; c < channels; c++) {
                        int row = mirror(y + dy, picture->height);
                        int column = mirror(x + dx, picture->width);
                        size_t at = (size_t)row * (size_t)picture->width + (size_t)column;
                        double level = picture->pixels[at * (size_t)channels + (size_t)c];
                        *k++ = (float)((level - mean[c]) * colour_unit);
                    }
            *k++ = (float)((x - picture->width / 2) * place_unit);
            *k++ = (float)((y - picture->height / 2) * place_unit);
            for (; key < k; key++) {
                *q++ = 2.0f * *key;
                norm += (double)*key * *key;
            }
            *q++ = 1.0f;
            *k++ = (float)-norm;
        }
    for (size_t i = 0; i < picture_size(picture); i++)
        v[i] = (float)picture->pixels[i];
}

/* ---- Attention ---------------------------------------------------------- */

static double seconds_of(cl_event event) {
    cl_ulong start, end;
    check(clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL),
          "event profile");
    check(clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL),
          "event profile");
    return (double)(end - start) * 1e-9;
}

/* o = softmax(q k^T) v for one head; tensors are q, k, v, o on the host. */
static void attention(struct run *run, const struct options *options, float *const tensors[4]) {
    cl_int status;
    cl_device_id device = find_device(options->device);
    cl_context cl = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
    check(status, "clCreateContext");
    cl_command_queue queue = clCreateCommandQueue(cl, device, CL_QUEUE_PROFILING_ENABLE, &status);
    check(status, "clCreateCommandQueue");

    clattn_context_desc context_desc = CLATTN_CONTEXT_DESC_INIT;
    context_desc.context = cl;
    context_desc.device = device;
    context_desc.notify = print_sentence;
    clattn_context context;
    check(clattn_context_create(&context_desc, &context), "clattn_context_create");
    clattn_desc desc = CLATTN_DESC_INIT;
    desc.seq_q = desc.seq_kv = (cl_uint)run->pixels;
    desc.head_dim = (cl_uint)run->dim;
    desc.head_dim_v = (cl_uint)run->dim_v;
    desc.variant = options->variant;
    clattn_plan plan;
    check(clattn_plan_create(context, &desc, &plan), "clattn_plan_create");
    printf("variant %s\n", clattn_plan_variant(plan));
    fflush(stdout);

    cl_mem memory[5] = {NULL}; /* q, k, v, o, workspace */
    clattn_tensor t[4];
    size_t bytes[5];
    check(clattn_plan_workspace_size(plan, &bytes[4]), "clattn_plan_workspace_size");
    for (int i = 0; i < 5; i++) {
        size_t dim = i < 2 ? run->dim : run->dim_v;
        if (i < 4) {
            bytes[i] = run->pixels * dim * sizeof(float);
            t[i] = (clattn_tensor)CLATTN_TENSOR_BHSD(NULL, 1, run->pixels, dim);
        }
        if (bytes[i] == 0)
            continue;
        memory[i] = clCreateBuffer(cl, CL_MEM_READ_WRITE, bytes[i], NULL, &status);
        check(status, "clCreateBuffer");
        if (i < 4)
            t[i].buffer = memory[i];
        if (i < 3)
            check(clEnqueueWriteBuffer(queue, memory[i], CL_FALSE, 0, bytes[i], tensors[i], 0, NULL,
                                       NULL),
                  "clEnqueueWriteBuffer");
    }

    clattn_forward_args args = CLATTN_FORWARD_ARGS_INIT;
    args.q = &t[0];
    args.k = &t[1];
    args.v = &t[2];
    args.o = &t[3];
    args.workspace = memory[4];
    args.scale = 1.0f;
    cl_event event;
    check(clattn_enqueue_forward(plan, queue, &args, 0, NULL, &event), "clattn_enqueue_forward");
    check(clEnqueueReadBuffer(queue, memory[3], CL_TRUE, 0, bytes[3], tensors[3], 1, &event, NULL),
          "clEnqueueReadBuffer");
    run->seconds = seconds_of(event);

    clReleaseEvent(event);
    for (int i = 0; i < 5; i++)
        if (memory[i])
            clReleaseMemObject(memory[i]);
    clattn_plan_destroy(plan);
    clattn_context_destroy(context);
    clReleaseCommandQueue(queue);
    clReleaseContext(cl);
}

/* Prints what it took. */
static struct picture denoise(const struct picture *noisy, const struct options *options) {
    struct run run = {.pixels = (size_t)noisy->width * (size_t)noisy->height,
                      .dim = (size_t)(options->patch * options->patch * noisy->channels) + 3,
                      .dim_v = (size_t)noisy->channels};
    float *tensors[4];
    for (int i = 0; i < 4; i++)
        tensors[i] = allocate(run.pixels, (i < 2 ? run.dim : run.dim_v) * sizeof(float));
    make_tensors(noisy, options, tensors[0], tensors[1], tensors[2]);
    printf("S %zu, D %zu, Dv %zu\n", run.pixels, run.dim, run.dim_v);
    attention(&run, options, tensors);

    struct picture result = *noisy;
    result.pixels = allocate(picture_size(noisy), 1);
    for (size_t i = 0; i < picture_size(noisy); i++)
        result.pixels[i] = picture_level(tensors[3][i]);
    double s = (double)run.pixels, d = (double)(run.dim + run.dim_v);
    printf("time %.3f s, %.1f GFLOP/s\n", run.seconds, 2.0 * s * s * d / run.seconds * 1e-9);
    printf("memory %.1f MiB in q, k, v, o; an S x S matrix would have taken %.1f MiB\n",
           s * 2.0 * d * sizeof(float) / 1048576.0, s * s * sizeof(float) / 1048576.0);
    for (int i = 0; i < 4; i++)
        free(tensors[i]);
    return result;
}

/* ---- Command line ------------------------------------------------------- */

static struct options parse_options(int argc, char **argv) {
    struct options o = {.sigma = 25.0, .reach = 12.0};
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        char rest;
        if (strncmp(word, "--", 2) != 0) {
            if (o.out)
                die(EXIT_USAGE, "one IN and one OUT, not also %s", word);
            *(o.in ? &o.out : &o.in) = word;
            continue;
        }
        if (strcmp(word, "--help") == 0) {
            fputs(usage, stdout);
            exit(EXIT_SUCCESS);
        }
        if (strcmp(word, "--noisy") == 0) {
            o.noisy = 1;
            continue;
        }
        if (!value)
            die(EXIT_USAGE, "%s: no such option, or its value is missing", word);
        i++;
        if (strcmp(word, "--sigma") == 0)
            o.sigma = parse_number(word, value, 0.0, 255.0);
        else if (strcmp(word, "--h") == 0)
            o.h = parse_number(word, value, 0.1, 1e6);
        else if (strcmp(word, "--reach") == 0)
            o.reach = parse_number(word, value, 0.0, 1e6);
        else if (strcmp(word, "--patch") == 0)
            o.patch = (int)parse_number(word, value, 1.0, 21.0);
        else if (strcmp(word, "--clean") == 0)
            o.clean = value;
        else if (strcmp(word, "--device") == 0)
            o.device = value;
        else if (strcmp(word, "--variant") == 0)
            o.variant = value;
        else if (strcmp(word, "--crop") != 0)
            die(EXIT_USAGE, "%s: no such option", word);
        else if (sscanf(value, "%5dx%5d%c", &o.crop_width, &o.crop_height, &rest) != 2 ||
                 o.crop_width < 1 || o.crop_height < 1)
            die(EXIT_USAGE, "--crop: %s is not WIDTHxHEIGHT", value);
    }
    if (!o.out) {
        fputs(usage, stderr);
        exit(EXIT_USAGE);
    }
    o.noisy = o.noisy || o.clean;
    if (o.patch != 0 && o.patch % 2 == 0)
        die(EXIT_USAGE, "--patch: %d is not odd", o.patch);
    if (o.h == 0.0)
        o.h = 0.85 * o.sigma;
    if (o.h < 0.1)
        die(EXIT_USAGE, "sigma %g needs --h", o.sigma);
    return o;
}

/* "dir/x.png" to "dir/x-noisy.png". */
static char *noisy_path(const char *path) {
    size_t length = strlen(path), stem = length;
    if (length >= 4 && strcmp(path + length - 4, ".png") == 0)
        stem -= 4;
    char *result = allocate(length + 7, 1);
    snprintf(result, length + 7, "%.*s-noisy%s", (int)stem, path, path + stem);
    return result;
}

int main(int argc, char **argv) {
    struct options options = parse_options(argc, argv);
    struct picture in, clean, noisy;
    read_picture(&in, options.in, &options);
    clean = noisy = in;
    if (options.patch == 0)
        options.patch = in.channels == 3 ? 5 : 7;
    if (options.patch * options.patch * in.channels + 3 > 512)
        die(EXIT_USAGE, "--patch %d: more than 512 dimensions", options.patch);
    printf("%s: %d x %d, %s\n", options.in, in.width, in.height,
           in.channels == 3 ? "colour" : "gray");
    if (options.clean) {
        read_picture(&clean, options.clean, &options);
        if (clean.width != in.width || clean.height != in.height || clean.channels != in.channels)
            die(EXIT_FAILURE, "%s and %s differ in size or colour", options.in, options.clean);
    }
    if (!options.noisy) {
        char *path = noisy_path(options.out);
        noisy.pixels = allocate(picture_size(&in), 1);
        picture_add_noise(&noisy, &in, options.sigma);
        write_picture(&noisy, path);
        printf("noise of sigma %g added: %s\n", options.sigma, path);
        free(path);
    }

    struct picture result = denoise(&noisy, &options);
    write_picture(&result, options.out);
    printf("denoised: %s\n", options.out);
    if (!options.noisy || options.clean) {
        double before = picture_psnr(&noisy, &clean), after = picture_psnr(&result, &clean);
        printf("PSNR %.2f dB before, %.2f dB after (%+.2f dB)\n", before, after, after - before);
    }
    free(result.pixels);
    if (noisy.pixels != in.pixels)
        free(noisy.pixels);
    if (clean.pixels != in.pixels)
        free(clean.pixels);
    free(in.pixels);
    return EXIT_SUCCESS;
}
