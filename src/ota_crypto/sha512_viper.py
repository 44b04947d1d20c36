"""The compression function of SHA-512 as machine code, on 32-bit words.

Runs on MicroPython only; `sha512_plain` is its oracle. Words are 64 bits wide on the unix port
and 32 on the boards: every sum and left shift is masked, and carries are found by comparing.
"""

from .compat import micropython


@micropython.viper
def compress(state, block, constants, schedule):
    """Take one block of 128 bytes into `state`; allocates nothing. See `sha512_plain`."""
    st = ptr32(state)  # noqa: F821
    src = ptr8(block)  # noqa: F821
    k = ptr32(constants)  # noqa: F821
    w = ptr32(schedule)  # noqa: F821
    m = uint(0xFFFFFFFF)  # noqa: F821
    i = 0
    while i < 32:
        j = i << 2
        w[i] = (src[j] << 24) | (src[j + 1] << 16) | (src[j + 2] << 8) | src[j + 3]
        i += 1
    ah = uint(st[0]) & m  # noqa: F821
    al = uint(st[1]) & m  # noqa: F821
    bh = uint(st[2]) & m  # noqa: F821
    bl = uint(st[3]) & m  # noqa: F821
    ch = uint(st[4]) & m  # noqa: F821
    cl = uint(st[5]) & m  # noqa: F821
    dh = uint(st[6]) & m  # noqa: F821
    dl = uint(st[7]) & m  # noqa: F821
    eh = uint(st[8]) & m  # noqa: F821
    el = uint(st[9]) & m  # noqa: F821
    fh = uint(st[10]) & m  # noqa: F821
    fl = uint(st[11]) & m  # noqa: F821
    gh = uint(st[12]) & m  # noqa: F821
    gl = uint(st[13]) & m  # noqa: F821
    hh = uint(st[14]) & m  # noqa: F821
    hl = uint(st[15]) & m  # noqa: F821
    t = 0
    while t < 160:
        i = t & 31
        wh = uint(w[i]) & m  # noqa: F821
        wl = uint(w[i + 1]) & m  # noqa: F821
        # T1 = h + Sigma1(e) + Ch(e, f, g) + K[t] + W[t], in (hh, hl)
        x = uint(k[t + 1]) & m  # noqa: F821
        hl = (hl + x) & m
        hh = hh + uint(k[t]) + wh  # noqa: F821
        if hl < x:
            hh += 1
        hl = (hl + wl) & m
        if hl < wl:
            hh += 1
        x = ((el >> 14) ^ (eh << 18) ^ (el >> 18) ^ (eh << 14) ^ (eh >> 9) ^ (el << 23)) & m
        hl = (hl + x) & m
        if hl < x:
            hh += 1
        x = gl ^ (el & (fl ^ gl))
        hl = (hl + x) & m
        if hl < x:
            hh += 1
        hh += (((eh >> 14) ^ (el << 18) ^ (eh >> 18) ^ (el << 14) ^ (el >> 9) ^ (eh << 23)) & m) + (
            gh ^ (eh & (fh ^ gh))
        )
        # the schedule's word 16 rounds on, where it will be used
        if t < 128:
            i1 = (i + 2) & 31
            yh = uint(w[i1]) & m  # noqa: F821
            yl = uint(w[i1 + 1]) & m  # noqa: F821
            x = ((yl >> 1) ^ (yh << 31) ^ (yl >> 8) ^ (yh << 24) ^ (yl >> 7) ^ (yh << 25)) & m
            wl = (wl + x) & m
            wh += ((yh >> 1) ^ (yl << 31) ^ (yh >> 8) ^ (yl << 24) ^ (yh >> 7)) & m
            if wl < x:
                wh += 1
            i1 = (i + 28) & 31
            yh = uint(w[i1]) & m  # noqa: F821
            yl = uint(w[i1 + 1]) & m  # noqa: F821
            x = ((yl >> 19) ^ (yh << 13) ^ (yh >> 29) ^ (yl << 3) ^ (yl >> 6) ^ (yh << 26)) & m
            wl = (wl + x) & m
            wh += ((yh >> 19) ^ (yl << 13) ^ (yl >> 29) ^ (yh << 3) ^ (yh >> 6)) & m
            if wl < x:
                wh += 1
            i1 = (i + 18) & 31
            x = uint(w[i1 + 1]) & m  # noqa: F821
            wl = (wl + x) & m
            wh += uint(w[i1])  # noqa: F821
            if wl < x:
                wh += 1
            w[i] = int(wh)
            w[i + 1] = int(wl)
        # e = d + T1; a = T1 + Sigma0(a) + Maj(a, b, c)
        dl = (dl + hl) & m
        dh = dh + hh
        if dl < hl:
            dh += 1
        x = ((al >> 28) ^ (ah << 4) ^ (ah >> 2) ^ (al << 30) ^ (ah >> 7) ^ (al << 25)) & m
        hl = (hl + x) & m
        if hl < x:
            hh += 1
        x = (al & bl) | (cl & (al | bl))
        hl = (hl + x) & m
        if hl < x:
            hh += 1
        hh += (((ah >> 28) ^ (al << 4) ^ (al >> 2) ^ (ah << 30) ^ (al >> 7) ^ (ah << 25)) & m) + (
            (ah & bh) | (ch & (ah | bh))
        )
        xh = hh & m
        x = hl
        hh = gh
        hl = gl
        gh = fh
        gl = fl
        fh = eh
        fl = el
        eh = dh & m
        el = dl
        dh = ch
        dl = cl
        ch = bh
        cl = bl
        bh = ah
        bl = al
        ah = xh
        al = x
        t += 2
    w[0] = int(ah)
    w[1] = int(al)
    w[2] = int(bh)
    w[3] = int(bl)
    w[4] = int(ch)
    w[5] = int(cl)
    w[6] = int(dh)
    w[7] = int(dl)
    w[8] = int(eh)
    w[9] = int(el)
    w[10] = int(fh)
    w[11] = int(fl)
    w[12] = int(gh)
    w[13] = int(gl)
    w[14] = int(hh)
    w[15] = int(hl)
    i = 0
    while i < 16:
        x = uint(w[i + 1]) & m  # noqa: F821
        al = ((uint(st[i + 1]) & m) + x) & m  # noqa: F821
        ah = uint(st[i]) + uint(w[i])  # noqa: F821
        if al < x:
            ah += 1
        st[i] = int(ah)
        st[i + 1] = int(al)
        i += 2
