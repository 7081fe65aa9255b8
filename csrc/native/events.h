/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader's end of a BPF ring buffer, of which there can be one at a time.
 * Functions return 0 or more, or a negative errno value.
 */
#ifndef OVN_NATIVE_EVENTS_H
#define OVN_NATIVE_EVENTS_H

#include <stdint.h>

struct ovn_events {
	int fd; /* of the map, the caller's; readable when there is something */
	uint64_t size;
	uint64_t *consumer; /* of the kernel, as are the two others */
	uint64_t *producer;
	const char *data;
};

/* size: the map's max_entries. */
int ovn_events_open(struct ovn_events *events, int map_fd, uint64_t size);
void ovn_events_close(struct ovn_events *events);

/* The next record, as the program wrote it; returns its length, or 0 when there is
 * none.  One longer than room is skipped. */
int ovn_events_read(struct ovn_events *events, void *record, uint32_t room);

#endif
