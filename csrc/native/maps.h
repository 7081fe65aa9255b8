/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel calls that libbpf 1.1 lacks, or that Python would make too often:
 * whole batches of hash entries, an RCU grace period, tcx links, test runs.
 * Functions return 0 or more, or a negative errno value.
 */
#ifndef OVN_NATIVE_MAPS_H
#define OVN_NATIVE_MAPS_H

#include <stdint.h>

struct ovn_map_info {
	uint32_t type;
	uint32_t id;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t max_entries;
	uint32_t flags;
	uint32_t btf_id;
	char name[16];
};

struct ovn_prog_info {
	uint32_t type;
	uint32_t id;
	uint8_t tag[8];
	char name[16];
	uint32_t verified_insns; /* what the verifier went through */
};

struct ovn_link_info {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t ifindex; /* tcx: 0 once the device is gone */
	uint32_t attach_type;
};

int ovn_pinned(const char *path);
int ovn_map_info(int fd, struct ovn_map_info *info);
int ovn_prog_info(int fd, struct ovn_prog_info *info);
int ovn_link_info(int fd, struct ovn_link_info *info);

int ovn_map_lookup(int fd, const void *key, void *value);
int ovn_map_update(int fd, const void *key, const void *value);
int ovn_map_delete(int fd, const void *key);

/* n keys and values, laid end to end.  EBUSY is tried again.  *done tells how
 * many went in.  A key to delete that is not there is not an error. */
int ovn_hash_update(int fd, const void *keys, const void *values, uint32_t key_size,
		    uint32_t value_size, uint32_t n, uint32_t *done);
/* n entries of an index (struct ovn_ref).  Those that are there are changed where they
 * lie: a reader finds the slot before or the slot after. */
int ovn_index_update(int fd, const void *keys, const uint32_t *slots, uint32_t key_size,
		     uint32_t n);
int ovn_hash_delete(int fd, const void *keys, uint32_t key_size, uint32_t n, uint32_t *done);
/* Reads up to n entries from *cursor on (0 at the start); returns how many, and
 * sets *more to 0 at the end of the map. */
int ovn_hash_dump(int fd, uint64_t *cursor, void *keys, void *values, uint32_t n, int *more);
/* The same for arrays too; locked: take each element's bpf_spin_lock. */
int ovn_map_dump(int fd, uint64_t *cursor, void *keys, void *values, uint32_t n, int locked,
		 int *more);

/* Makes a range of memory inaccessible, and puts part of an array map in its place. */
int ovn_memory_reserve(void *at, uint64_t length);
int ovn_memory_map(void *at, int fd, uint64_t offset, uint64_t length);

/* Returns once no program runs that was running at the call. */
int ovn_grace_period(void);
/* Stores *where after everything stored before it. */
void ovn_publish(uint32_t *where, uint32_t value);

int ovn_tcx_attach(int prog_fd, uint32_t ifindex, int egress);

struct ovn_test_run {
	int prog_fd;
	uint32_t repeat;
	const void *data_in;
	uint32_t data_in_len;
	void *data_out;
	uint32_t data_out_len; /* in: room; out: bytes */
	void *ctx;	       /* struct __sk_buff in, and out */
	uint32_t ctx_len;
	uint32_t retval;
	uint32_t duration; /* ns per run */
};

int ovn_test_run(struct ovn_test_run *run);

/* What libbpf printed since the last take, ended by NUL.  ovn_log_printer is
 * the address to give to libbpf_set_print. */
void *ovn_log_printer(void);
int ovn_log_take(char *text, uint32_t room);

#endif
