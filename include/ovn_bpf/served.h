/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Answers without the slow path: what the agent has made ready, so that OP_PUNTs are
 * answered in the kernel.  What is not here is for the slow path; so is what a bound
 * forbids.  `first` and `last` differ in a value that is being overwritten, and both
 * change with each write.
 */
#ifndef OVN_BPF_SERVED_LAYOUT_H
#define OVN_BPF_SERVED_LAYOUT_H

#include "words.h"

#define OVN_TEMPLATE_BYTES 512

/* Hash `ovn_templates`: a message, by verb and argument. */
struct ovn_template_key {
	__u32 verb;
	__u32 arg;
	__u32 variant; /* enum ovn_template_variant, several */
};

enum ovn_template_variant {
	OVN_TEMPLATE_PLAIN = 0,
	OVN_TEMPLATE_IPXE = 1 << 0,   /* of DHCP: for a client that says so */
	OVN_TEMPLATE_INFORM = 1 << 1, /* of DHCP: for a client that has its address */
	OVN_TEMPLATE_VARIANTS = 4,
};

struct ovn_template {
	struct ovn_template_key key;
	__u32 means; /* of PLAIN: byte v, where variant v is to be found */
	__u64 first;
	__u32 offer;	   /* DHCP: the address */
	__u32 next_server; /* DHCP: or 0, the request's */
	__u32 len;	   /* DHCP: of the options behind the type; RA: of it all */
	__u32 pad;
	__u8 bytes[OVN_TEMPLATE_BYTES];
	__u64 last;
};

#define OVN_NAME_BYTES 128 /* of a name on the wire that is looked up here */
#define OVN_NAME_ADDRS 16  /* addresses of each family */

/* Hash `ovn_names`: DNS, by the name in lower case as on the wire, zeroes behind it.
 * With no name at all (the first byte is 0): all of the datapath's names are here. */
struct ovn_name_key {
	__u32 dp;
	__u8 name[OVN_NAME_BYTES];
};

enum ovn_name_flag {
	OVN_NAME_OWNED = 1 << 0,  /* what else there may be is refused */
	OVN_NAME_ADDR = 1 << 1,	  /* it has addresses, or none: n4, n6 */
	OVN_NAME_PTR = 1 << 2,	  /* it can be a PTR record: ptr_len */
	OVN_NAME_MORE = 1 << 3,	  /* more addresses than fit: for the slow path */
	OVN_NAME_LONGER = 1 << 4, /* a PTR record longer than fits: likewise */
};

struct ovn_name {
	struct ovn_name_key key;
	__u32 flags; /* enum ovn_name_flag */
	__u64 first;
	__u32 n4;
	__u32 n6;
	__u32 ptr_len;
	__u32 pad;
	__u8 ip4[OVN_NAME_ADDRS][4];
	__u8 ip6[OVN_NAME_ADDRS][16];
	__u8 ptr[OVN_NAME_BYTES];
	__u64 last;
};

/* Map `ovn_served`, per CPU, of struct ovn_count: 2 * verb, and + 1 for packets that
 * went on with answer 0. */
#define OVN_SERVED 64

#endif
