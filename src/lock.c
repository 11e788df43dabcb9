#include "lock.h"

#if defined(_WIN32)

static BOOL CALLBACK run(PINIT_ONCE once, PVOID function, PVOID *context) {
    (void)once;
    (void)context;
    (*(void (**)(void))function)();
    return TRUE;
}

void lock_once(struct lock_once *once, void (*function)(void)) {
    InitOnceExecuteOnce(&once->flag, run, &function, NULL);
}

bool lock_init(struct lock *l) {
    InitializeSRWLock(&l->mutex);
    return true;
}

void lock_destroy(struct lock *l) {
    (void)l;
}

void lock_take(struct lock *l) {
    AcquireSRWLockExclusive(&l->mutex);
}

void lock_give(struct lock *l) {
    ReleaseSRWLockExclusive(&l->mutex);
}

#elif defined(__STDC_NO_THREADS__) || defined(__APPLE__)

void lock_once(struct lock_once *once, void (*function)(void)) {
    pthread_once(&once->flag, function);
}

bool lock_init(struct lock *l) {
    return pthread_mutex_init(&l->mutex, NULL) == 0;
}

void lock_destroy(struct lock *l) {
    pthread_mutex_destroy(&l->mutex);
}

void lock_take(struct lock *l) {
    pthread_mutex_lock(&l->mutex);
}

void lock_give(struct lock *l) {
    pthread_mutex_unlock(&l->mutex);
}

#else

void lock_once(struct lock_once *once, void (*function)(void)) {
    call_once(&once->flag, function);
}

bool lock_init(struct lock *l) {
    return mtx_init(&l->mutex, mtx_plain) == thrd_success;
}

void lock_destroy(struct lock *l) {
    mtx_destroy(&l->mutex);
}

void lock_take(struct lock *l) {
    mtx_lock(&l->mutex);
}

void lock_give(struct lock *l) {
    mtx_unlock(&l->mutex);
}

#endif
