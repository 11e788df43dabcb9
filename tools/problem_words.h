/*
 * problem_words - why a text is not a problem: clattn_desc_parse says only that it is none.
 */
#ifndef PROBLEM_WORDS_H
#define PROBLEM_WORDS_H

/* What is wrong with a text that clattn_desc_parse refuses, in words that follow "'TEXT' is not a
 * problem: ": the word that is wrong, or what is missing.  To be freed; NULL when out of memory. */
char *problem_words_wrong(const char *text);

#endif
