/* Sends frames out of an interface as fast as the kernel takes them. flood INTERFACE CPU LENGTH: says "ready", runs until it is killed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define BURST 64

static void fail(const char *what) {
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(atoi(argv[2]), &set);
  if (sched_setaffinity(0, sizeof set, &set)) fail("sched_setaffinity");
  int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1;
  if (fd < 0) fail("socket");
  if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on)) fail("PACKET_QDISC_BYPASS");
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(argv[1])};
  if (bind(fd, (struct sockaddr *)&address, sizeof address)) fail("bind");
  static unsigned char frame[2048] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
  struct iovec part = {frame, atoi(argv[3])};
  struct mmsghdr messages[BURST];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < BURST; i++) messages[i].msg_hdr.msg_iov = &part, messages[i].msg_hdr.msg_iovlen = 1;
  puts("ready");
  fflush(stdout);
  /* A full interface drops, or says ENOBUFS: both are as they should be. */
  for (;;) sendmmsg(fd, messages, BURST, 0);
}
