/* What the C tests of the codecs share. Every function ends the program when something does not hold. */
#ifndef EDGEARM_TESTS_CODEC_CHECK_H
#define EDGEARM_TESTS_CODEC_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUIRE(condition) require(condition, #condition, __FILE__, __LINE__)
void require(bool holds, const char *what, const char *file, int line);

/* Bytes written as hexadecimal pairs with spaces between them. */
typedef struct {
    uint8_t at[300];
    size_t count;
} byte_string;

byte_string bytes_of(const char *hex);
bool same(const uint8_t *bytes, size_t count, const char *hex);

/* The same numbers in every run. */
uint32_t any(void);
uint32_t any_below(uint32_t end);

/* test_*.c */
void test_crc32(void);
void test_cobs(void);
void test_feetech(void);
void test_dynamixel(void);
void test_damiao(void);
void test_bridge(void);
void test_bridge_serial(void);
void test_bridge_can(void);
void test_bridge_gate(void);

#endif
