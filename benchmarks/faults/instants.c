/* Preloaded into every process of a fault campaign. It does two things around the calls by which files and commits become
   durable: it logs them, so that a power cut can be played afterwards (what was never synced is lost), and it stops the
   process at the instant the campaign armed, so that it can be killed exactly there.

   FAULTS_ROOT  only files below this folder count
   FAULTS_LOG   events are appended here, a line each: process, call, inode, size, path, new path, number in the stash
   FAULTS_TRAP  a file shared by all processes, struct trap below
   FAULTS_STASH a file that a rename replaces is kept here under a number, for power cuts that undo the rename */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct trap {
  _Atomic int32_t armed;     /* 1: the next call that matches and counts down to zero stops its process */
  _Atomic int32_t countdown;
  _Atomic int32_t hit;       /* process that stopped, 0 while none */
  _Atomic int32_t stashed;   /* numbers given to replaced files */
  int32_t after;             /* stop after the call instead of before it */
  char call[16];             /* "sync", "rename" or "commit" */
  char path[200];            /* part of the path; for "rename" of the new one */
};

static struct trap *trap;
static const char *root, *stash;
static int events = -1;

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static ssize_t (*real_send)(int, const void *, size_t, int);

__attribute__((constructor)) static void begin(void) {
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_rename = dlsym(RTLD_NEXT, "rename");
  real_send = dlsym(RTLD_NEXT, "send");
  root = getenv("FAULTS_ROOT");
  stash = getenv("FAULTS_STASH");
  const char *log = getenv("FAULTS_LOG"), *shared = getenv("FAULTS_TRAP");
  if (!root || !stash || !log || !shared) return;
  events = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  int file = open(shared, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof(struct trap), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) trap = mapped;
  close(file);
}

static int ours(const char *path) { return root && strncmp(path, root, strlen(root)) == 0; }

static void note(const char *call, const struct stat *status, const char *path, const char *target, int stashed) {
  char line[2400];
  int length = snprintf(line, sizeof line, "%d\t%s\t%llu\t%lld\t%s\t%s\t%d\n", (int)getpid(), call,
                        (unsigned long long)status->st_ino, (long long)status->st_size, path, target, stashed);
  if (events >= 0 && length > 0 && (size_t)length < sizeof line)
    if (write(events, line, (size_t)length) < 0) return;
}

static int matches(const char *call, const char *path, int after) {
  return trap && atomic_load(&trap->armed) && trap->after == after && strcmp(trap->call, call) == 0 &&
         strstr(path, trap->path) != NULL;
}

static void spring(const char *call, const char *path, int after) {
  int saved = errno;
  if (matches(call, path, after) && atomic_fetch_sub(&trap->countdown, 1) == 1) {
    atomic_store(&trap->armed, 0);
    atomic_store(&trap->hit, (int32_t)getpid());
    kill(getpid(), SIGSTOP);
  }
  errno = saved;
}

static int named(int descriptor, char *path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, size - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return ours(path);
}

static int synced(int descriptor, int (*sync)(int)) {
  char path[1024];
  int saved = errno, known = named(descriptor, path, sizeof path);
  errno = saved;
  if (!known) return sync(descriptor);
  struct stat status;
  fstat(descriptor, &status);
  spring("sync", path, 0);
  int answer = sync(descriptor);
  saved = errno;
  if (answer == 0) note(S_ISDIR(status.st_mode) ? "folder" : "sync", &status, path, "", -1);
  errno = saved;
  spring("sync", path, 1);
  return answer;
}

int fsync(int descriptor) { return synced(descriptor, real_fsync); }
int fdatasync(int descriptor) { return synced(descriptor, real_fdatasync); }

int rename(const char *from, const char *to) {
  if (!ours(from) || !trap) return real_rename(from, to);
  spring("rename", to, 0);
  char kept[1200];
  struct stat status;
  int stashed = -1;
  if (stat(to, &status) == 0 && S_ISREG(status.st_mode)) {
    int number = atomic_fetch_add(&trap->stashed, 1);
    snprintf(kept, sizeof kept, "%s/%d", stash, number);
    if (link(to, kept) == 0) stashed = number;
  }
  int answer = real_rename(from, to), saved = errno;
  if (answer == 0 && stat(to, &status) == 0) note("rename", &status, from, to, stashed);
  errno = saved;
  spring("rename", to, 1);
  return answer;
}

ssize_t send(int socket, const void *data, size_t size, int flags) {
  int commits = trap && memmem(data, size, "COMMIT", 6) != NULL;
  if (commits) spring("commit", "", 0);
  ssize_t answer = real_send(socket, data, size, flags);
  if (commits) spring("commit", "", 1);
  return answer;
}
