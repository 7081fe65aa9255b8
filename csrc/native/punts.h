/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader's end of the perf event array that carries packets to the slow path:
 * one ring for each CPU.  Functions return 0 or more, or a negative errno value.
 */
#ifndef OVN_NATIVE_PUNTS_H
#define OVN_NATIVE_PUNTS_H

#include <stdint.h>

struct ovn_ring {
	int fd;	    /* readable when there is something */
	int map_fd; /* the caller's */
	uint32_t cpu;
	void *pages; /* of the kernel */
	uint64_t size;
	uint64_t lost; /* samples that found no room, so far */
};

/* Opens the ring of a CPU, of 2^order pages, and puts it into the map. */
int ovn_ring_open(struct ovn_ring *ring, int map_fd, uint32_t cpu, uint32_t order);
void ovn_ring_close(struct ovn_ring *ring);

/* Bytes of samples that wait. */
uint64_t ovn_ring_waiting(const struct ovn_ring *ring);

/* The next sample, as the program wrote it; returns its length, or 0 when there is
 * none.  One longer than room is skipped and counted as lost. */
int ovn_ring_read(struct ovn_ring *ring, void *sample, uint32_t room);

#endif
