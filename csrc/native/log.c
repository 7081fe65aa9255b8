// SPDX-License-Identifier: Apache-2.0
/*
 * Keeps what libbpf prints, verifier logs first of all, until Python asks.  In
 * C because the callback takes a va_list, which ctypes cannot.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "maps.h"

enum { DEBUG = 2 }; /* enum libbpf_print_level */

static char log_text[1 << 18];
static uint32_t log_len;

static int printer(int level, const char *format, va_list args)
{
	uint32_t room = sizeof(log_text) - log_len;
	int n;

	if (level >= DEBUG)
		return 0;
	n = vsnprintf(log_text + log_len, room, format, args);
	if (n > 0)
		log_len += (uint32_t)n < room ? (uint32_t)n : room - 1;
	return n;
}

void *ovn_log_printer(void)
{
	return (void *)printer;
}

int ovn_log_take(char *text, uint32_t room)
{
	uint32_t n = log_len < room ? log_len : room - 1;

	memcpy(text, log_text, n);
	text[n] = '\0';
	log_len = 0;
	return (int)n;
}
