#include "sources.h"

#include <string.h>

const struct source *sources_find(const char *name) {
    for (const struct source *s = sources_table; s->name; s++) {
        if (strcmp(s->name, name) == 0) {
            return s;
        }
    }
    return NULL;
}
