/* Preloaded before libc: counts the calls by which a program changes files, and opens
 * connections, and makes the n-th of them fail or be the last one.
 *
 * The counter and what is to happen stand in a page of memory that all processes of a run share
 * (struct page; injector.py writes it). Only regular files below `root`, and stream sockets, count.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum action { COUNT, ONCE, FROM_THEN_ON, KILL };

struct page {
    int64_t armed, count, at, action, number, leader, fired;
    char root[512], what[512];
};

static struct page *page;

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv("INJECTION_PAGE");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *memory = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory != MAP_FAILED)
        page = memory;
}

/* Absolute names elsewhere are not ours; relative ones are, as every process works in the clone. */
static int is_ours(const char *path) {
    return page && page->armed && path &&
           (path[0] != '/' || !strncmp(path, page->root, strlen(page->root)));
}

static int is_our_file(int descriptor) {
    struct stat status;
    char link[64], path[512];
    if (!page || !page->armed || fstat(descriptor, &status) || !S_ISREG(status.st_mode))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return path[0] == '/' && is_ours(path);
}

/* Count a call. Returns 0, the error it must fail with, or -1: it is the last one. */
static int point(const char *call, const char *path, int refusal) {
    int needs_room = !refusal && strncmp(call, "unlink", 6) && strncmp(call, "rename", 6) &&
                     strcmp(call, "rmdir");
    int64_t now = __atomic_add_fetch(&page->count, 1, __ATOMIC_SEQ_CST);
    int64_t at = page->at, action = page->action;
    if (action == COUNT || !at || now < at || (now > at && action != FROM_THEN_ON))
        return 0;
    if (now == at)
        snprintf(page->what, sizeof page->what, "%s %s", call, path ? path : "");
    page->fired = 1;
    if (action == KILL)
        return -1;
    if (page->number == ENOSPC && !needs_room) /* a full disk hinders nobody to tidy up */
        return action == ONCE ? (refusal ? refusal : EIO) : 0;
    return refusal ? refusal : (int)page->number;
}

/* After the last call: a signal to the leader of the run, SIGKILL to whoever made the call too. */
static void end(void) {
    if (page->leader)
        kill((pid_t)page->leader, (int)page->number);
    if (page->number == SIGKILL)
        kill(0, SIGKILL);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define INJECT(condition, call, path, refusal, result, invocation)                                \
    do {                                                                                           \
        int fault = 0;                                                                             \
        if (condition)                                                                             \
            fault = point(call, path, refusal);                                                    \
        if (fault > 0) {                                                                           \
            errno = fault;                                                                         \
            return -1;                                                                             \
        }                                                                                          \
        result answer = invocation;                                                                \
        int kept = errno;                                                                          \
        if (fault < 0)                                                                             \
            end();                                                                                 \
        errno = kept;                                                                              \
        return answer;                                                                             \
    } while (0)

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = (mode_t)va_arg(rest, int);                                                   \
        va_end(rest);                                                                              \
        INJECT((flags & O_CREAT) && is_ours(path), "open", path, 0, int,                           \
               REAL(name)(path, flags, mode));                                                     \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                               \
    int name(int folder, const char *path, int flags, ...) {                                       \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = (mode_t)va_arg(rest, int);                                                   \
        va_end(rest);                                                                              \
        INJECT((flags & O_CREAT) && is_ours(path), "open", path, 0, int,                           \
               REAL(name)(folder, path, flags, mode));                                             \
    }
OPENAT(openat)
OPENAT(openat64)

#define ON_FILE(name, result, parameters, file, ...)                                               \
    result name parameters {                                                                       \
        INJECT(is_our_file(file), #name, NULL, 0, result, REAL(name)(__VA_ARGS__));                \
    }
ON_FILE(write, ssize_t, (int file, const void *data, size_t size), file, file, data, size)
ON_FILE(pwrite, ssize_t, (int file, const void *data, size_t size, off_t at), file, file, data,
        size, at)
ON_FILE(pwrite64, ssize_t, (int file, const void *data, size_t size, off64_t at), file, file, data,
        size, at)
ON_FILE(writev, ssize_t, (int file, const struct iovec *parts, int count), file, file, parts, count)
ON_FILE(sendfile, ssize_t, (int to, int from, off_t *at, size_t size), to, to, from, at, size)
ON_FILE(sendfile64, ssize_t, (int to, int from, off64_t *at, size_t size), to, to, from, at, size)
ON_FILE(fsync, int, (int file), file, file)
ON_FILE(fdatasync, int, (int file), file, file)
ON_FILE(ftruncate, int, (int file, off_t size), file, file, size)
ON_FILE(ftruncate64, int, (int file, off64_t size), file, file, size)

#define ON_PATH(name, parameters, path, ...)                                                       \
    int name parameters {                                                                          \
        INJECT(is_ours(path), #name, path, 0, int, REAL(name)(__VA_ARGS__));                       \
    }
ON_PATH(rename, (const char *old, const char *new), new, old, new)
ON_PATH(renameat, (int from, const char *old, int to, const char *new), new, from, old, to, new)
ON_PATH(renameat2, (int from, const char *old, int to, const char *new, unsigned flags), new, from,
        old, to, new, flags)
ON_PATH(link, (const char *old, const char *new), new, old, new)
ON_PATH(linkat, (int from, const char *old, int to, const char *new, int flags), new, from, old, to,
        new, flags)
ON_PATH(mkdir, (const char *path, mode_t mode), path, path, mode)
ON_PATH(mkdirat, (int folder, const char *path, mode_t mode), path, folder, path, mode)
ON_PATH(rmdir, (const char *path), path, path)
ON_PATH(unlink, (const char *path), path, path)
ON_PATH(unlinkat, (int folder, const char *path, int flags), path, folder, path, flags)
ON_PATH(truncate, (const char *path, off_t size), path, path, size)
ON_PATH(truncate64, (const char *path, off64_t size), path, path, size)

static int is_stream(int socket) {
    int kind = 0;
    socklen_t size = sizeof kind;
    return page && page->armed && !getsockopt(socket, SOL_SOCKET, SO_TYPE, &kind, &size) &&
           kind == SOCK_STREAM;
}

int connect(int socket, const struct sockaddr *address, socklen_t size) {
    INJECT(is_stream(socket), "connect", NULL, ECONNREFUSED, int,
           REAL(connect)(socket, address, size));
}
