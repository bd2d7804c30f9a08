/*
 * Reports what of a program's files has reached the disk. Loaded before libc, it passes on every fsync and fdatasync
 * and then adds a line to $PAGE_CACHE_NOTES: the file's number, its size when the sync began, and its name. Whatever
 * was written after the last such line would be lost with the machine, at worst; a test that kills the program and
 * cuts its files down to these sizes has seen that worst case. With $PAGE_CACHE_SYNC_MS every sync takes that much
 * longer: a slow disk. It does not watch O_SYNC, msync or names in folders.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void note(int fd, const struct stat *file) {
  const char *notes = getenv("PAGE_CACHE_NOTES");
  if (!notes || !S_ISREG(file->st_mode)) return;
  char link[64], name[PATH_MAX], line[PATH_MAX + 64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, name, sizeof name - 1);
  if (length < 0) return;
  name[length] = 0;
  int out = open(notes, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (out < 0) return;
  int size = snprintf(line, sizeof line, "%llu %lld %s\n", (unsigned long long)file->st_ino, (long long)file->st_size, name);
  /* One write of one line: notes of several threads do not mix. */
  if (write(out, line, (size_t)size) != size) abort();
  close(out);
}

static int synced(const char *call, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
  const char *slow = getenv("PAGE_CACHE_SYNC_MS");
  struct stat file;
  int known = fstat(fd, &file) == 0;
  if (slow && known && S_ISREG(file.st_mode)) usleep((useconds_t)atoi(slow) * 1000);
  int result = real(fd);
  if (result == 0 && known) note(fd, &file);
  return result;
}

int fsync(int fd) { return synced("fsync", fd); }

int fdatasync(int fd) { return synced("fdatasync", fd); }
