/*
 * The parser is asked again, about single words and about the words so far, beside what they may
 * lack: so nothing of its grammar is repeated here.
 */
#include "problem_words.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <clattn.h>

static const char *const blanks = " \t\r\n";

/* Do the words make a problem beside some of q and d, which are required?  room holds them and
 * more. */
static bool passes(const char *words, size_t length, char *room, size_t size) {
    static const char *const others[] = {"q1 d1", "q1", "d1", ""};
    bool passed = false;
    for (size_t i = 0; i < sizeof others / sizeof others[0] && !passed; i++) {
        clattn_desc desc = CLATTN_DESC_INIT;
        snprintf(room, size, "%s %.*s", others[i], (int)length, words);
        passed = clattn_desc_parse(room, &desc) == CL_SUCCESS;
    }
    return passed;
}

static bool completes(const char *text, const char *missing, char *room, size_t size) {
    clattn_desc desc = CLATTN_DESC_INIT;
    snprintf(room, size, "%s %s", text, missing);
    return clattn_desc_parse(room, &desc) == CL_SUCCESS;
}

char *problem_words_wrong(const char *text) {
    enum { EXTRA = 64 }; /* for the longest sentence, and what is put beside the words */
    const size_t size = strlen(text) + EXTRA;
    char *room = malloc(size);
    for (const char *at = text + strspn(text, blanks); room && *at; at += strspn(at, blanks)) {
        const size_t length = strcspn(at, blanks);
        const bool known = passes(at, length, room, size);
        if (!known || !passes(text, (size_t)(at - text) + length, room, size)) {
            snprintf(room, size,
                     known ? "'%.*s' and a word before it are of one kind"
                           : "'%.*s' is none of the words of one",
                     (int)length, at);
            return room;
        }
        at += length;
    }
    if (room) {
        const bool q = completes(text, "q1", room, size), d = completes(text, "d1", room, size);
        snprintf(room, size, "its %s missing", q ? "q is" : d ? "d is" : "q and d are");
    }
    return room;
}
