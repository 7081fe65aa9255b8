/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Wire formats and byte order, as far as the program reads or writes them.
 * Sizes are what the standards say: RFC 791, 8200, 826, 4861, 8926.
 */
#ifndef OVN_BPF_PACKET_H
#define OVN_BPF_PACKET_H

#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_RARP 0x8035
#define ETH_P_IPV6 0x86dd
#define ETH_P_TEB 0x6558

#define ETH_LEN 14
#define IP4_LEN 20
#define IP6_LEN 40
#define UDP_LEN 8
#define ARP_LEN 28
#define ND_LEN 24 /* NS or NA without options */

#define PROTO_HOPOPTS 0
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_AH 51
#define PROTO_ICMP6 58
#define PROTO_DSTOPTS 60
#define PROTO_SCTP 132

#define ND_NS 135
#define ND_NA 136
#define ND_OPT_SLL 1
#define ND_OPT_TLL 2

#define VLAN_PRESENT 0x1000 /* in OVN's vlan.tci, the CFI bit */

struct ip4_hdr {
	__u8 ver_ihl;
	__u8 tos;
	__be16 len;
	__be16 id;
	__be16 frag;
	__u8 ttl;
	__u8 proto;
	__sum16 csum;
	__be32 src;
	__be32 dst;
};

struct ip6_hdr {
	__be32 ver_tc_label;
	__be16 len;
	__u8 next;
	__u8 hops;
	__be32 src[4];
	__be32 dst[4];
};

struct arp_hdr {
	__be16 hrd;
	__be16 pro;
	__u8 hln;
	__u8 pln;
	__be16 op;
	__u8 sha[6];
	__u8 spa[4];
	__u8 tha[6];
	__u8 tpa[4];
};

struct udp_hdr {
	__be16 src;
	__be16 dst;
	__be16 len;
	__sum16 csum;
};

/* Geneve base header and OVN's only option (census section 7). */
struct geneve_hdr {
	__u8 ver_optlen;
	__u8 flags;
	__be16 proto;
	__be32 vni; /* VNI << 8 */
};
struct geneve_opt {
	__be16 cls;
	__u8 type;
	__u8 len; /* words after these four bytes, low 5 bits */
	__be32 data;
};
#define OVN_GENEVE_CLASS 0x0102
#define OVN_GENEVE_TYPE 0x80
#define GENEVE_CRITICAL 0x80

/* Numbers in headers.  They must lie at even places, 32 bits at multiples of 4 but for
 * the _even ones: the verifier insists on the stack, and some processors do. */
#define HEADER __attribute__((aligned(4)))

static __always_inline __u32 get32(const __u8 *p)
{
	return bpf_ntohl(*(const __be32 *)p);
}

static __always_inline __u32 get16(const __u8 *p)
{
	return bpf_ntohs(*(const __be16 *)p);
}

static __always_inline __u32 get32_even(const __u8 *p)
{
	return get16(p) << 16 | get16(p + 2);
}

static __always_inline void put32(__u8 *p, __u32 v)
{
	*(__be32 *)p = bpf_htonl(v);
}

static __always_inline void put16(__u8 *p, __u32 v)
{
	*(__be16 *)p = bpf_htons(v);
}

static __always_inline void put32_even(__u8 *p, __u32 v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

/* A MAC address as two words, and back. */
static __always_inline void get_mac(__u32 *w, const __u8 *p)
{
	w[0] = get16(p);
	w[1] = get32_even(p + 2);
}

static __always_inline void put_mac(__u8 *p, const __u32 *w)
{
	put16(p, w[0]);
	put32_even(p + 2, w[1]);
}

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

#endif
