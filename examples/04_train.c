/*
 * A language model trained on any OpenCL device: clattn's forward and backward pass, CLBlast's
 * matrix products, and a few kernels (train_kernels.cl).
 *
 *     04_train TEXT        learns to continue TEXT character by character, then writes some
 *
 * The model (train_model.h) sees `context` characters and gives, after each of them, a probability
 * to every character that may come next.  The loss is the mean of -log(probability of the one that
 * came).  A model that knows nothing has log(number of characters).  A step takes `batch` pieces
 * from random places of TEXT; its last tenth is held out, and shows what was learned by heart.
 *
 * The same seed on the same device gives the same weights, to the bit: every sum has a fixed order.
 */
/* isatty, fileno */
#define _POSIX_C_SOURCE 200809L

#include <clattn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "curve.h"
#include "replace.h"
#include "safetensors.h"
#include "train_model.h"

const char program[] = "04_train";

static const char usage[] =
    "usage: 04_train [OPTION...] TEXT\n"
    "  TEXT is a file, of which each byte is a character.\n"
    "  -o FILE         save the weights as FILE, safetensors\n"
    "  --plot FILE     draw the loss as FILE, SVG\n"
    "  --steps N       (default 1200)\n"
    "  --batch N       sequences in a step (default 4)\n"
    "  --context N     characters in a sequence (default 64)\n"
    "  --layers N      (default 3)\n"
    "  --width N       of the model (default 128)\n"
    "  --heads N       width / heads is a multiple of 32 (default 4)\n"
    "  --rate R        learning rate, at its highest (default 0.002)\n"
    "  --seed N        of weights, batches and sample (default 1)\n"
    "  --sample N      characters to write in the end (default 400)\n"
    "  --temperature T below 1: likelier characters are preferred (default 0.8)\n"
    "  --device N|NAME the N-th OpenCL device, or one whose platform or name contains NAME\n";

enum { LINES = 10, HELD_OUT_BATCHES = 8, MOST_BYTES = 1 << 26 };

struct options {
    struct model_shape shape;
    int steps, sample;
    double rate, temperature;
    uint64_t seed;
    const char *device, *text, *model, *plot;
};

/* ---- The text ----------------------------------------------------------- */

struct text {
    int *characters;          /* numbers from 0 */
    int length, held_out;     /* the last held_out are not trained on */
    int kinds;                /* of characters */
    unsigned char bytes[256]; /* of each kind */
};

/* Numbers the bytes that occur, in ascending order. */
static struct text read_text(const char *path) {
    struct text text = {0};
    unsigned char *content = allocate(MOST_BYTES, 1);
    FILE *file = fopen(path, "rb");
    size_t length = file ? fread(content, 1, MOST_BYTES, file) : 0;
    if (!file || ferror(file))
        die(EXIT_FAILURE, "%s: cannot be read", path);
    if (length == MOST_BYTES)
        die(EXIT_FAILURE, "%s: 2^26 bytes or more", path);
    fclose(file);
    int number[256] = {0};
    for (size_t i = 0; i < length; i++)
        number[content[i]] = 1;
    for (int byte = 0; byte < 256; byte++)
        if (number[byte]) {
            text.bytes[text.kinds] = (unsigned char)byte;
            number[byte] = text.kinds++;
        }
    text.characters = allocate(length + 1, sizeof *text.characters);
    for (size_t i = 0; i < length; i++)
        text.characters[i] = number[content[i]];
    text.length = (int)length;
    text.held_out = text.length / 10;
    free(content);
    return text;
}

/* A batch: each character, and the one that follows it. */
struct batch {
    int *characters, *targets; /* [batch, context] */
};

static void take(const struct text *text, const struct model_shape *shape, int sequence, int start,
                 struct batch *batch) {
    const size_t bytes = (size_t)shape->context * sizeof(int);
    memcpy(batch->characters + sequence * shape->context, text->characters + start, bytes);
    memcpy(batch->targets + sequence * shape->context, text->characters + start + 1, bytes);
}

/* From random places before what is held out. */
static void take_random(const struct text *text, const struct model_shape *shape, uint64_t *random,
                        struct batch *batch) {
    const int places = text->length - text->held_out - shape->context;
    for (int i = 0; i < shape->batch; i++)
        take(text, shape, i, (int)(model_random(random) * places), batch);
}

/* The loss on what is held out: always the same places, at equal distances. */
static double held_out_loss(struct model *model, const struct text *text,
                            const struct model_shape *shape, struct batch *batch) {
    const int pieces = HELD_OUT_BATCHES * shape->batch, places = text->held_out - shape->context;
    double sum = 0.0;
    for (int i = 0; i < pieces; i++) {
        int start = text->length - text->held_out + (int)((double)places * i / pieces);
        take(text, shape, i % shape->batch, start, batch);
        if ((i + 1) % shape->batch == 0) {
            model_forward(model, batch->characters, shape->batch);
            sum += model_loss(model, batch->targets);
        }
    }
    return sum / HELD_OUT_BATCHES;
}

/* ---- Training ----------------------------------------------------------- */

/* What is drawn. */
struct history {
    int *steps, *held_out_steps;
    double *losses, *held_out_losses;
    size_t count, held_out_count;
};

static double now(void) {
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* The rate rises during the first twentieth of the steps, then falls to a tenth on a half cosine.
 */
static double rate_at(const struct options *options, int step) {
    const double warm = 1.0 + options->steps / 20, pi = acos(-1.0);
    if (step < warm)
        return options->rate * step / warm;
    return options->rate *
           (0.55 + 0.45 * cos(pi * (step - warm) / fmax(1.0, options->steps - warm)));
}

/* seconds: since the first step, in which CLBlast compiles its kernels. */
static void print_progress(const struct options *options, int step, double loss, double seconds) {
    printf("step %d of %d, loss %.4f", step, options->steps, loss);
    if (step > 1) {
        double tokens = (double)options->shape.batch * options->shape.context * (step - 1);
        int left = (int)(seconds / (step - 1) * (options->steps - step));
        printf(", %.0f tokens/s, %d:%02d left", tokens / seconds, left / 60, left % 60);
    }
}

/* Ten lines on stdout; in between, on a terminal, one line that changes. */
static void train(struct model *model, const struct options *options, const struct text *text,
                  struct history *history) {
    const struct model_shape *shape = &options->shape;
    const size_t rows = (size_t)shape->batch * (size_t)shape->context;
    struct batch batch = {allocate(rows, sizeof(int)), allocate(rows, sizeof(int))};
    uint64_t random = options->seed + 1;
    const int terminal = isatty(fileno(stdout));
    double start = 0.0, shown = 0.0;
    for (int step = 1; step <= options->steps; step++) {
        take_random(text, shape, &random, &batch);
        model_forward(model, batch.characters, shape->batch);
        double loss = model_loss(model, batch.targets);
        if (!isfinite(loss))
            die(EXIT_FAILURE, "the loss of step %d is not finite: try a lower --rate than %g", step,
                options->rate);
        model_backward(model);
        model_update(model, step, rate_at(options, step), 0.1);
        history->steps[history->count] = step;
        history->losses[history->count++] = loss;

        if (step == 1)
            start = now();
        const int line = step == 1 || (int)((double)step * LINES / options->steps) >
                                          (int)((double)(step - 1) * LINES / options->steps);
        if (line || (terminal && now() - shown > 0.2)) {
            shown = now();
            print_progress(options, step, loss, shown - start);
            if (line) {
                double held_out = held_out_loss(model, text, shape, &batch);
                history->held_out_steps[history->held_out_count] = step;
                history->held_out_losses[history->held_out_count++] = held_out;
                printf(", held out %.4f\n", held_out);
            } else {
                printf("   \r"); /* the next line covers this one */
            }
        }
        fflush(stdout);
    }
    free(batch.characters);
    free(batch.targets);
}

/* Means over the last tenth of the steps: one batch says little. */
static void print_result(const struct text *text, const struct history *history, double seconds) {
    const double uniform = log(text->kinds);
    const size_t last = history->count > 10 ? history->count / 10 : 1;
    double sum = 0.0, held_out = history->held_out_losses[history->held_out_count - 1];
    for (size_t i = history->count - last; i < history->count; i++)
        sum += history->losses[i];
    printf("loss %.4f at first (log %d = %.4f), %.4f in the last %zu steps: %.1f%%\n",
           history->losses[0], text->kinds, uniform, sum / (double)last, last,
           100.0 * sum / (double)last / uniform);
    printf("held out %.4f: %.1f%%\n", held_out, 100.0 * held_out / uniform);
    printf("%.1f s, with all that was compiled\n", seconds);
}

/* ---- Results ------------------------------------------------------------ */

/* Draws a character from softmax(logits / temperature). */
static int draw(float *logits, int count, double temperature, uint64_t *random) {
    double sum = 0.0, largest = logits[0];
    for (int c = 1; c < count; c++)
        largest = fmax(largest, logits[c]);
    for (int c = 0; c < count; c++)
        sum += exp((logits[c] - largest) / temperature);
    double left = model_random(random) * sum;
    for (int c = 0; c < count; c++) {
        left -= exp((logits[c] - largest) / temperature);
        if (left < 0.0)
            return c;
    }
    return count - 1;
}

/* Writes characters after the first of the text.  Each is drawn after a whole forward pass over the
 * last `context` characters, which is the shortest program; keeping k and v is the fast one. */
static void print_sample(struct model *model, const struct options *options,
                         const struct text *text) {
    const int context = options->shape.context;
    int *window = allocate((size_t)context, sizeof *window), length = 1;
    float *logits = allocate((size_t)text->kinds, sizeof *logits);
    uint64_t random = options->seed + 2;
    memset(window, 0, (size_t)context * sizeof *window); /* causal: what follows does not matter */
    window[0] = text->characters[0];
    printf("\n%c", text->bytes[window[0]]);
    for (int i = 0; i < options->sample; i++) {
        model_forward(model, window, 1);
        model_get_logits(model, length - 1, logits);
        int next = draw(logits, text->kinds, options->temperature, &random);
        if (length == context)
            memmove(window, window + 1, (size_t)(--length) * sizeof *window);
        window[length++] = next;
        putchar(text->bytes[next]);
        fflush(stdout);
    }
    printf("\n\n");
    free(window);
    free(logits);
}

/* Matrices [rows, columns] of y = x W, and `bytes`: the byte of each character. */
static void save(struct model *model, const struct text *text, const char *path) {
    size_t count;
    const struct model_matrix *matrices = model_matrices(model, &count);
    float *weights = allocate(model_weight_count(model), sizeof *weights);
    struct safetensors_tensor *tensors = allocate(count + 1, sizeof *tensors);
    model_get_weights(model, weights);
    for (size_t i = 0; i < count; i++)
        tensors[i] = (struct safetensors_tensor){.name = matrices[i].name,
                                                 .dtype = "F32",
                                                 .rank = 2,
                                                 .shape = {matrices[i].rows, matrices[i].columns},
                                                 .data = weights + matrices[i].first};
    tensors[count] = (struct safetensors_tensor){.name = "bytes",
                                                 .dtype = "U8",
                                                 .rank = 1,
                                                 .shape = {(uint64_t)text->kinds},
                                                 .data = text->bytes};
    char why[SAFETENSORS_WHY];
    if (safetensors_write(path, tensors, count + 1, why) != SAFETENSORS_OK)
        die(EXIT_FAILURE, "%s: %s", path, why);
    printf("weights: %s\n", path);
    free(tensors);
    free(weights);
}

static void draw_curve(const struct history *history, const struct text *text, const char *path) {
    const struct curve curves[] = {
        {"training", "#0072b2", history->count, history->steps, history->losses},
        {"held out", "#d55e00", history->held_out_count, history->held_out_steps,
         history->held_out_losses}};
    const char *why =
        curve_write(path, "Loss of a character, in nats", curves, 2, log(text->kinds), "uniform");
    if (why)
        die(EXIT_FAILURE, "%s: %s", path, why);
    printf("curve: %s\n", path);
}

/* ---- Command line ------------------------------------------------------- */

static int parse_count(const char *option, const char *text, double least, double most) {
    double value = parse_number(option, text, least, most);
    if (value != floor(value))
        die(EXIT_USAGE, "%s: %s is not a whole number", option, text);
    return (int)value;
}

static struct options parse_options(int argc, char **argv) {
    struct options o = {.shape = {.layers = 3, .width = 128, .heads = 4, .context = 64, .batch = 4},
                        .steps = 1200,
                        .sample = 400,
                        .rate = 0.002,
                        .temperature = 0.8,
                        .seed = 1};
    struct model_shape *shape = &o.shape;
    const struct {
        const char *name;
        int *value;
        double least, most;
    } counts[] = {{"--steps", &o.steps, 1, 1e7},        {"--sample", &o.sample, 0, 1e7},
                  {"--batch", &shape->batch, 1, 4096},  {"--context", &shape->context, 2, 65536},
                  {"--layers", &shape->layers, 1, 256}, {"--width", &shape->width, 32, 16384},
                  {"--heads", &shape->heads, 1, 512}};
    const size_t count = sizeof counts / sizeof counts[0];
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (word[0] != '-') {
            if (o.text)
                die(EXIT_USAGE, "one TEXT, not also %s", word);
            o.text = word;
            continue;
        }
        if (strcmp(word, "--help") == 0) {
            fputs(usage, stdout);
            exit(EXIT_SUCCESS);
        }
        if (!value)
            die(EXIT_USAGE, "%s: no such option, or its value is missing", word);
        i++;
        size_t c = 0;
        while (c < count && strcmp(word, counts[c].name) != 0)
            c++;
        if (c < count)
            *counts[c].value = parse_count(word, value, counts[c].least, counts[c].most);
        else if (strcmp(word, "-o") == 0)
            o.model = value;
        else if (strcmp(word, "--plot") == 0)
            o.plot = value;
        else if (strcmp(word, "--rate") == 0)
            o.rate = parse_number(word, value, 0.0, 1e3);
        else if (strcmp(word, "--temperature") == 0)
            o.temperature = parse_number(word, value, 0.01, 100.0);
        else if (strcmp(word, "--seed") == 0)
            o.seed = (uint64_t)parse_count(word, value, 0, 1e9);
        else if (strcmp(word, "--device") == 0)
            o.device = value;
        else
            die(EXIT_USAGE, "%s: no such option", word);
    }
    if (!o.text) {
        fputs(usage, stderr);
        exit(EXIT_USAGE);
    }
    if (shape->width % shape->heads != 0 || shape->width / shape->heads % 32 != 0 ||
        shape->width / shape->heads > 512)
        die(EXIT_USAGE, "--width %d, --heads %d: width / heads is not a multiple of 32 up to 512",
            shape->width, shape->heads);
    if ((double)shape->batch * shape->context * shape->width > 1 << 28)
        die(EXIT_USAGE, "batch x context x width is above 2^28");
    return o;
}

/* Before the work, not after it. */
static void check_writable(const char *path) {
    const char *why = path ? replace_check(path) : NULL;
    if (why)
        die(EXIT_FAILURE, "%s: cannot be written: %s", path, why);
}

int main(int argc, char **argv) {
    const double start = now();
    struct options options = parse_options(argc, argv);
    check_writable(options.model);
    check_writable(options.plot);
    struct text text = read_text(options.text);
    if (text.kinds < 2 || text.held_out <= options.shape.context)
        die(EXIT_FAILURE,
            "%s: %d bytes, %d different ones; needed are 2, and more than 10 x --context %d",
            options.text, text.length, text.kinds, options.shape.context);
    options.shape.characters = text.kinds;
    printf("%s: %d characters, %d different ones; the last %d are held out\n", options.text,
           text.length, text.kinds, text.held_out);

    struct model *model = model_create(find_device(options.device), &options.shape);
    model_print(model);
    fflush(stdout);
    model_start(model, options.seed);
    const size_t steps = (size_t)options.steps;
    struct history history = {.steps = allocate(steps, sizeof(int)),
                              .losses = allocate(steps, sizeof(double)),
                              .held_out_steps = allocate(LINES + 1, sizeof(int)),
                              .held_out_losses = allocate(LINES + 1, sizeof(double))};
    train(model, &options, &text, &history);
    print_result(&text, &history, now() - start);
    if (options.model)
        save(model, &text, options.model);
    if (options.plot)
        draw_curve(&history, &text, options.plot);
    if (options.sample > 0)
        print_sample(model, &options, &text);
    model_destroy(model);
    free(history.steps);
    free(history.losses);
    free(history.held_out_steps);
    free(history.held_out_losses);
    free(text.characters);
    return EXIT_SUCCESS;
}
