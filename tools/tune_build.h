/*
 * tune_build - what was measured: which build of clattn and of the tuner.
 */
#ifndef TUNE_BUILD_H
#define TUNE_BUILD_H

enum { TUNE_BUILD = 64 };

/* The version, and a hash of the files of the library and of this program: kernels and launches may
 * change under one version.  A file that cannot be found or read has no part in the hash. */
void tune_build_name(char name[TUNE_BUILD]);

#endif
