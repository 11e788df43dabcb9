#include "device.h"

#include <assert.h>
#include <string.h>

static const char *const type_names[] = {"other", "cpu", "gpu"};

static const struct {
    const char *name;
    size_t offset;
    size_t capacity; /* of a text; 0: a number */
} facts[] = {
#define FACT_TEXT(member) \
    { #member, offsetof(struct device, member), sizeof((struct device *)0)->member }
#define FACT_NUMBER(member) \
    { #member, offsetof(struct device, member), 0 }
    FACT_TEXT(name),           FACT_TEXT(vendor),
    FACT_TEXT(platform),       FACT_TEXT(driver),
    FACT_TEXT(architecture),   FACT_TEXT(matrix),
    FACT_NUMBER(type),         FACT_NUMBER(compute_units),
    FACT_NUMBER(work_group),   FACT_NUMBER(work_items),
    FACT_NUMBER(local_memory), FACT_NUMBER(local_memory_reported),
    FACT_NUMBER(float_width),  FACT_NUMBER(address_bits),
    FACT_NUMBER(svm),          FACT_NUMBER(base_alignment),
    FACT_NUMBER(loop_limit),   FACT_NUMBER(argument_bytes),
#undef FACT_TEXT
#undef FACT_NUMBER
};

enum { FACTS = sizeof facts / sizeof facts[0] };

void device_format(const struct device *d, struct text *out) {
    for (size_t i = 0; i < FACTS; i++) {
        const char *member = (const char *)d + facts[i].offset;
        cl_ulong number;
        memcpy(&number, member, sizeof number);
        if (facts[i].offset == offsetof(struct device, type)) {
            assert(number < sizeof type_names / sizeof *type_names);
            text_printf(out, "type %s\n", type_names[number]);
        } else if (facts[i].capacity) {
            text_printf(out, "%s%s%s\n", facts[i].name, *member ? " " : "", member);
        } else {
            text_printf(out, "%s %llu\n", facts[i].name, (unsigned long long)number);
        }
    }
}

static bool parse_fact(struct device *d, size_t fact, const char *value, size_t length) {
    char *member = (char *)d + facts[fact].offset;
    if (facts[fact].capacity) {
        if (length >= facts[fact].capacity) {
            return false;
        }
        memcpy(member, value, length);
        member[length] = '\0';
        return true;
    }
    long long number = -1;
    if (facts[fact].offset == offsetof(struct device, type)) {
        for (int type = DEVICE_OTHER; type <= DEVICE_GPU; type++) {
            if (text_is(value, length, type_names[type])) {
                number = type;
            }
        }
    } else if (!text_number(value, length, 0, INT64_MAX, &number)) {
        return false;
    }
    cl_ulong stored = (cl_ulong)number;
    memcpy(member, &stored, sizeof stored);
    return number >= 0;
}

bool device_parse(struct device *d, const char *text_of_facts) {
    *d = (struct device){0};
    for (const char *line = text_of_facts; *line;) {
        const char *end = line + strcspn(line, "\n");
        const char *name = line + strspn(line, " ");
        const char *name_end = name + strcspn(name, " \n");
        const char *value = name_end + strspn(name_end, " ");
        size_t fact = 0;
        while (fact < FACTS && !text_is(name, (size_t)(name_end - name), facts[fact].name)) {
            fact++;
        }
        if (name < end && (fact == FACTS || !parse_fact(d, fact, value, (size_t)(end - value)))) {
            return false;
        }
        line = end + (*end == '\n');
    }
    return true;
}
