/*
 * lock - a mutex, from C11 threads where the C library has them, else from the system.
 *
 * A lock is held for microseconds of host work.  It is held longer only while a driver compiles: in
 * a context's program cache, so that two threads that want the same program build it once, and
 * around a kernel's first launch, where some drivers compile only then.
 */
#ifndef LOCK_H
#define LOCK_H

#include <stdbool.h>

#if defined(_WIN32)
#include <windows.h>
struct lock {
    SRWLOCK mutex;
};
struct lock_once {
    INIT_ONCE flag;
};
#define LOCK_ONCE \
    { INIT_ONCE_STATIC_INIT }
#elif defined(__STDC_NO_THREADS__) || defined(__APPLE__)
#include <pthread.h>
struct lock {
    pthread_mutex_t mutex;
};
struct lock_once {
    pthread_once_t flag;
};
#define LOCK_ONCE \
    { PTHREAD_ONCE_INIT }
#else
#include <threads.h>
struct lock {
    mtx_t mutex;
};
struct lock_once {
    once_flag flag;
};
#define LOCK_ONCE \
    { ONCE_FLAG_INIT }
#endif

/* Runs a function once in the process; a static one begins as LOCK_ONCE.  Another thread that comes
 * meanwhile waits. */
void lock_once(struct lock_once *once, void (*function)(void));

/* False when the system has no mutex to give. */
bool lock_init(struct lock *l);
void lock_destroy(struct lock *l);
void lock_take(struct lock *l);
void lock_give(struct lock *l);

#endif
