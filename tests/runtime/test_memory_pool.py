"""Arrays whose memory is used again."""

from __future__ import annotations

import gc
import threading

import numpy as np

from vmruntime.memory_pool import LARGE, MemoryPool, empty, release_memory

MIB = 1 << 20


def address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def test_what_was_dropped_is_lent_again() -> None:
    pool = MemoryPool()
    first = pool.lend(MIB)
    first[:] = 7
    where, view = address(first), first[10:20].view(np.uint16)
    del first
    other = pool.lend(MIB)
    assert address(other) != where  # a view still rests on it
    assert (view == 0x0707).all()
    del view
    assert pool.nbytes_idle == MIB
    assert address(pool.lend(MIB)) == where
    assert pool.nbytes == 2 * MIB


def test_sizes_are_kept_apart_and_page_aligned() -> None:
    pool = MemoryPool()
    small = pool.lend(1)
    assert (small.nbytes, address(small) % 4096) == (4096, 0)
    del small
    larger = pool.lend(5000)
    assert (larger.nbytes, pool.nbytes_idle) == (8192, 4096)


def test_no_more_is_kept_than_was_allowed() -> None:
    gone: list[int] = []
    pool = MemoryPool(unregister=lambda memory: gone.append(memory.nbytes), most_idle=3 * MIB)
    held = [pool.lend(MIB) for _ in range(5)]
    del held
    assert pool.nbytes_idle == 3 * MIB
    assert gone == [MIB, MIB]
    pool.trim()
    assert (pool.nbytes_idle, pool.nbytes, len(gone)) == (0, 0, 5)


def test_each_piece_is_registered_once() -> None:
    known: list[int] = []
    pool = MemoryPool(
        lambda memory: known.append(address(memory)), lambda memory: known.remove(address(memory))
    )
    for _ in range(3):
        pool.lend(MIB)
    held = pool.lend(MIB)
    held[:] = 3
    pool.close()
    assert known == []
    assert (held == 3).all()
    del held
    gc.collect()
    assert pool.nbytes_idle == 0


def test_from_several_threads() -> None:
    pool = MemoryPool(most_idle=8 * MIB)

    def work(number: int) -> None:
        for _ in range(200):
            array = pool.lend(MIB // 4)
            array[:100] = number
            assert (array[:100] == number).all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool.nbytes <= 4 * (MIB // 4)


def test_arrays_of_a_shape() -> None:
    release_memory()
    large = empty((3, 64, 64, 64), np.float32)
    assert (large.shape, large.dtype, large.flags.c_contiguous) == (
        (3, 64, 64, 64),
        np.float32,
        True,
    )
    where = address(large)
    del large
    again = empty((3, 64, 64, 64), np.float32)
    assert address(again) == where
    small = empty((2, 3), np.uint8)
    assert small.base is None
    assert small.nbytes < LARGE
    release_memory()
    again[:] = 1  # what is lent stays
