/* The firmware on MPS2 AN386, which qemu-system-arm emulates.
 *
 *     UART0  upward, to the computer       UART1  servo bus       UART2  buttons
 *
 * The board's own inputs cannot be driven from outside of qemu, so the emergency stop is a byte on UART2: 'S' presses
 * it and 'R' lets go. 'H' makes the loop hang, to prove the watchdog.
 */
#include "board.h"
#include "firmware.h"
#include "hal.h"
#include "ring.h"

enum {
    BAUD = 1000000,
    WATCHDOG_MS = 200 /* to the bark, and as long again to the reset. An emulated processor may get no time that long */
};

typedef struct {
    board_uart *uart;
    ring *in;
    ring *out;
} line;

static ring rings[4];
static const line upward = {UPWARD_UART, &rings[0], &rings[1]};
static const line bus = {BUS_UART, &rings[2], &rings[3]};
static firmware fw;
static bool barked;
static volatile bool pressed;
static volatile bool hanging;

/* --- lines ---------------------------------------------------------------------------------------------------------
 */

static void open_uart(board_uart *uart, uint32_t control)
{
    uart->divider = BOARD_HZ / BAUD;
    uart->control = control;
}

static void fetch(const line *of)
{
    of->uart->interrupt = 2;
    while ((of->uart->state & UART_RX_FULL) != 0) {
        ring_put(of->in, (uint8_t)of->uart->data);
    }
}

/* From the interrupt that the transmitter has room, and with that interrupt off to begin with. */
static void pass_on(const line *of)
{
    uint8_t byte;
    of->uart->interrupt = 1;
    while ((of->uart->state & UART_TX_FULL) == 0 && ring_get(of->out, &byte)) {
        of->uart->data = byte;
    }
}

void board_upward_receive(void)
{
    fetch(&upward);
}

void board_upward_transmit(void)
{
    pass_on(&upward);
}

void board_bus_receive(void)
{
    fetch(&bus);
}

void board_bus_transmit(void)
{
    pass_on(&bus);
}

void board_bench_receive(void)
{
    BENCH_UART->interrupt = 2;
    while ((BENCH_UART->state & UART_RX_FULL) != 0) {
        const uint8_t button = (uint8_t)BENCH_UART->data;
        pressed = button == 'S' || (pressed && button != 'R');
        hanging = hanging || button == 'H';
    }
}

static size_t take(const line *of, uint8_t *to, size_t most)
{
    size_t count = 0;
    while (count < most && ring_get(of->in, to + count)) {
        count += 1;
    }
    return count;
}

static bool give(const line *of, const uint8_t *bytes, size_t count)
{
    if (RING_SIZE - ring_used(of->out) < count) {
        return false;
    }
    for (size_t i = 0; i < count; ++i) {
        ring_put(of->out, bytes[i]);
    }
    __asm__ volatile("cpsid i" ::: "memory"); /* the interrupt that takes the rest must not run in between */
    pass_on(of);
    __asm__ volatile("cpsie i" ::: "memory");
    return true;
}

/* --- hal.h ---------------------------------------------------------------------------------------------------------
 */

size_t hal_upward_read(uint8_t *to, size_t most)
{
    return take(&upward, to, most);
}

bool hal_upward_send(const uint8_t *bytes, size_t count)
{
    return give(&upward, bytes, count);
}

size_t hal_bus_read(uint8_t *to, size_t most)
{
    return take(&bus, to, most);
}

bool hal_bus_send(const uint8_t *bytes, size_t count)
{
    return give(&bus, bytes, count);
}

bool hal_stop_pressed(void)
{
    return pressed;
}

bool hal_watchdog_reset(void)
{
    return barked;
}

void hal_kick_watchdog(void)
{
    WATCHDOG->lock = WATCHDOG_UNLOCK;
    WATCHDOG->clear = 1;
    WATCHDOG->lock = 0;
}

/* Microseconds out of a counter that runs down at 25 MHz; asked far more often than the 171 s that it takes to wrap. */
static uint32_t now_us(void)
{
    static uint32_t last = UINT32_MAX;
    static uint32_t rest;
    static uint32_t us;
    const uint32_t value = TIMER->value;
    const uint64_t counts = (uint64_t)(uint32_t)(last - value) + rest;
    last = value;
    us += (uint32_t)(counts / (BOARD_HZ / 1000000));
    rest = (uint32_t)(counts % (BOARD_HZ / 1000000));
    return us;
}

int main(void)
{
    WATCHDOG->lock = WATCHDOG_UNLOCK;
    WATCHDOG->load = BOARD_HZ / 1000 * WATCHDOG_MS;
    WATCHDOG->control = WATCHDOG_INTERRUPT | WATCHDOG_RESET;
    WATCHDOG->lock = 0; /* from here on nothing stops it by mistake */
    barked = board_mark == BOARD_WATCHDOG_BARKED;
    board_mark = 0;
    TIMER->reload = UINT32_MAX;
    TIMER->value = UINT32_MAX;
    TIMER->control = TIMER_ENABLE;
    open_uart(UPWARD_UART, UART_TX | UART_RX | UART_TX_INTERRUPT | UART_RX_INTERRUPT);
    open_uart(BUS_UART, UART_TX | UART_RX | UART_TX_INTERRUPT | UART_RX_INTERRUPT);
    open_uart(BENCH_UART, UART_RX | UART_RX_INTERRUPT);
    firmware_init(&fw, &so101_table, now_us());
    *INTERRUPT_ENABLE = 1u << UPWARD_RX | 1u << UPWARD_TX | 1u << BUS_RX | 1u << BUS_TX | 1u << BENCH_RX;
    for (;;) {
        while (hanging) {
        }
        firmware_poll(&fw, now_us());
    }
}
