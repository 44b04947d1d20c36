"""What the Redis registry does inside Redis, so that it is one step for everybody else.

A script runs on a connection to our own database and selects the originals' where it needs it
(`SELECT` inside a script is the script's alone). Each gets the two database numbers first. Those
that write a single board are in `redis_board_scripts`.

Ours, in the database after the originals':
    dice-auth:key-id:<hex>   set of the ids of the boards whose root has this key id
    dice-auth:indexed        hash: id -> SHA-1 of its PEM as indexed (hex), key id (hex)
    dice-auth:board:<id>     hash: application, labels, enrolled_at, first_seen, ...
    dice-auth:revoked        hash: key id (hex) -> JSON of the revocation
    dice-auth:complete       there while every board of the originals' database is indexed, but
                             for those that the C `submit` has only just written
    dice-auth:follower       who is indexing what the C tools write, for a second
    dice-auth:mark:<name>    there while a pass over all boards goes on
    dice-auth:batch:<name>   list of boards about to be enrolled
    dice-auth:nonces         sorted set: nonce (hex) -> when it ends, milliseconds since 1970
"""

from typing import Final

INDEXED: Final = "dice-auth:indexed"
BOARD_PREFIX: Final = "dice-auth:board:"
REVOKED: Final = "dice-auth:revoked"
COMPLETE: Final = "dice-auth:complete"
FOLLOWER: Final = "dice-auth:follower"
MARK_PREFIX: Final = "dice-auth:mark:"
BATCH_PREFIX: Final = "dice-auth:batch:"
ROOT_CERT: Final = "root_cert"

COMMON = """
local theirs, ours = ARGV[1], ARGV[2]
local function in_theirs(...)
    redis.call('SELECT', theirs)
    local answer = redis.pcall(...)
    redis.call('SELECT', ours)
    return answer
end
local function write_theirs(...)
    local answer = in_theirs(...)
    if type(answer) == 'table' and answer.err then error(answer) end
    return answer
end
local function pem_of(id)
    local pem = in_theirs('HGET', id, 'root_cert')
    return type(pem) == 'string' and pem or false
end
local function unindex(id)
    local entry = redis.call('HGET', 'dice-auth:indexed', id)
    if entry then
        if #entry > 40 then redis.call('SREM', 'dice-auth:key-id:' .. entry:sub(41), id) end
        redis.call('HDEL', 'dice-auth:indexed', id)
    end
end
local function index(id, fingerprint, key_id)
    unindex(id)
    if key_id ~= '' then redis.call('SADD', 'dice-auth:key-id:' .. key_id, id) end
    redis.call('HSET', 'dice-auth:indexed', id, fingerprint .. key_id)
end
"""

CONFLICT = """
local function conflict_of_root(id, key_id)
    if redis.call('HEXISTS', 'dice-auth:revoked', key_id) == 1 then
        return {'revoked', id, redis.call('HGET', 'dice-auth:revoked', key_id)}
    end
    for _, other in ipairs(redis.call('SMEMBERS', 'dice-auth:key-id:' .. key_id)) do
        if other ~= id and pem_of(other) then return {'enrolled-as', id, other} end
    end
end
"""

# ARGV: key ids (hex). Returns a string for each, because a client reads one faster than a list:
# '1' (revoked) or '0', id, a zero byte and the PEM; '-' if nobody has it, '?' if that is not known,
# because the index is not complete. Theirs is selected once for all.
FIND = (
    COMMON
    + """
local found = {}
for at = 3, #ARGV do
    local ids = redis.call('SMEMBERS', 'dice-auth:key-id:' .. ARGV[at])
    if #ids > 1 then table.sort(ids) end
    for _, id in ipairs(ids) do found[#found + 1] = {at, id} end
end
redis.call('SELECT', theirs)
for _, board in ipairs(found) do board[3] = redis.pcall('HGET', board[2], 'root_cert') end
redis.call('SELECT', ours)
local answers = {}
for _, board in ipairs(found) do
    local at, id, pem = unpack(board)
    if not answers[at - 2] and type(pem) == 'string' then
        local entry = redis.call('HGET', 'dice-auth:indexed', id)
        if entry and entry:sub(1, 40) == redis.sha1hex(pem) then
            local revoked = redis.call('HEXISTS', 'dice-auth:revoked', ARGV[at])
            answers[at - 2] = revoked .. id .. '\\0' .. pem
        end
    end
end
local absent = redis.call('EXISTS', 'dice-auth:complete') == 1 and '-' or '?'
for at = 1, #ARGV - 2 do answers[at] = answers[at] or absent end
return answers
"""
)

# ARGV: the batch's list, its length, '1' to replace roots, '1' to update texts, the time. An
# element is JSON: id, key id (hex), PEM, application or null, labels (JSON) or null. Returns
# {'ok', changed}, {what, id, other}, or {'not-all'} if the list is not as long: Redis was emptied
# or restarted meanwhile, or a page that was not answered in time was sent twice.
ENROL = (
    COMMON
    + CONFLICT
    + """
local batch, length, replace = ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
local update, now = ARGV[6] == '1', ARGV[7]
if redis.call('LLEN', batch) ~= length then
    redis.call('DEL', batch)
    return {'not-all'}
end
local function each_board(work)
    for first = 0, length - 1, 500 do
        for _, element in ipairs(redis.call('LRANGE', batch, first, first + 499)) do
            local conflict = work(unpack(cjson.decode(element)))
            if conflict then return conflict end
        end
    end
end
local function are_other_labels(old, new)
    if new == cjson.null or new == old then return false end
    local left = old ~= '' and cjson.decode(old) or {}
    local right = new ~= '' and cjson.decode(new) or {}
    for name, value in pairs(left) do if right[name] ~= value then return true end end
    for name, value in pairs(right) do if left[name] ~= value then return true end end
    return false
end
local function has_other_texts(id, application, labels)
    local old = redis.call('HMGET', 'dice-auth:board:' .. id, 'application', 'labels')
    return application ~= cjson.null and application ~= (old[1] or '')
        or are_other_labels(old[2] or '', labels)
end
local ids, roots = {}, {}
local conflict = each_board(function(id, key_id, pem, application, labels)
    if ids[id] then return {'twice', id, id} end
    if roots[key_id] then return {'same-root', id, roots[key_id]} end
    ids[id], roots[key_id] = true, id
    local kind = in_theirs('TYPE', id).ok
    if kind ~= 'none' and kind ~= 'hash' then return {'no-board', id, kind} end
    if kind == 'hash' and not replace and pem_of(id) ~= pem then
        return {'other-root', id, id}
    end
    if kind == 'hash' and not update and pem_of(id) == pem
        and has_other_texts(id, application, labels)
    then
        return {'other-texts', id, id}
    end
    return conflict_of_root(id, key_id)
end)
if conflict then
    redis.call('DEL', batch)
    return conflict
end
if in_theirs('DBSIZE') == 0 then redis.call('SET', 'dice-auth:complete', 1) end
local changed = 0
each_board(function(id, key_id, pem, application, labels)
    local is_changed = false
    local function keep(name, value)
        if value ~= cjson.null and redis.call('HGET', 'dice-auth:board:' .. id, name) ~= value then
            if value ~= '' or redis.call('HEXISTS', 'dice-auth:board:' .. id, name) == 1 then
                is_changed = true
            end
            redis.call('HSET', 'dice-auth:board:' .. id, name, value)
        end
    end
    local is_other = pem_of(id) ~= pem
    if is_other or update then
        keep('application', application)
        keep('labels', labels)
    end
    if is_other then
        is_changed = true
        write_theirs('HSET', id, 'root_cert', pem)
        redis.call('HSET', 'dice-auth:board:' .. id, 'enrolled_at', now)
    end
    index(id, redis.sha1hex(pem), key_id)
    if is_changed then changed = changed + 1 end
end)
redis.call('DEL', batch)
return {'ok', changed}
"""
)

# ARGV: cursor, how many. Returns {next cursor, boards seen, id, fingerprint, PEM, id, ...}: the
# boards of the originals' database that are not indexed as they are now.
CHANGES = (
    COMMON
    + """
local page = in_theirs('SCAN', ARGV[3], 'COUNT', ARGV[4], 'TYPE', 'hash')
local answer = {page[1], 0}
for _, id in ipairs(page[2]) do
    local pem = pem_of(id)
    if pem then
        answer[2] = answer[2] + 1
        local fingerprint = redis.sha1hex(pem)
        local entry = redis.call('HGET', 'dice-auth:indexed', id)
        if not entry or entry:sub(1, 40) ~= fingerprint then
            for _, value in ipairs({id, fingerprint, pem}) do answer[#answer + 1] = value end
        end
    end
end
return answer
"""
)

# ARGV: ids. Returns {id, fingerprint, PEM, id, ...} of those that are not indexed as they are now;
# a board that is gone is taken out of the index.
CHANGE = (
    COMMON
    + """
local answer = {}
for at = 3, #ARGV do
    local id = ARGV[at]
    local pem = pem_of(id)
    if pem then
        local fingerprint = redis.sha1hex(pem)
        local entry = redis.call('HGET', 'dice-auth:indexed', id)
        if not entry or entry:sub(1, 40) ~= fingerprint then
            for _, value in ipairs({id, fingerprint, pem}) do answer[#answer + 1] = value end
        end
    else
        unindex(id)
        redis.call('DEL', 'dice-auth:board:' .. id)
    end
end
return answer
"""
)

# ARGV: id, fingerprint, key id (hex; '' for an entry that is no board's), and so on.
INDEX = (
    COMMON
    + """
for at = 3, #ARGV, 3 do index(ARGV[at], ARGV[at + 1], ARGV[at + 2]) end
"""
)

# ARGV: cursor, how many. Takes out of the index what is gone. Returns the next cursor.
FORGET = (
    COMMON
    + """
local page = redis.call('HSCAN', 'dice-auth:indexed', ARGV[3], 'COUNT', ARGV[4])
for at = 1, #page[2], 2 do
    local id = page[2][at]
    if not pem_of(id) then
        unindex(id)
        redis.call('DEL', 'dice-auth:board:' .. id)
    end
end
return page[1]
"""
)

# ARGV: the mark of the pass. Calls the index complete if the mark, which was set before the first
# page, is still there: else our database was emptied meanwhile. Returns whether it was.
FINISH_PASS = (
    COMMON
    + """
if redis.call('DEL', ARGV[3]) == 0 then return 0 end
redis.call('SET', 'dice-auth:complete', 1)
return 1
"""
)

# ARGV: id, verdict, first seen or '', last seen or '', version or '', whether there is one, and so
# on.
OBSERVE = (
    COMMON
    + """
for at = 3, #ARGV, 6 do
    local id, verdict, first, last, version, has_version = unpack(ARGV, at, at + 5)
    if redis.call('HEXISTS', 'dice-auth:indexed', id) == 1 then
        local board = 'dice-auth:board:' .. id
        redis.call('HSET', board, 'last_verdict', verdict)
        if first ~= '' then redis.call('HSETNX', board, 'first_seen', first) end
        if last ~= '' then redis.call('HSET', board, 'last_seen', last) end
        if has_version == '1' then redis.call('HSET', board, 'last_version', version) end
    end
end
"""
)

_NONCES = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local latest = string.format('%.0f', now + ARGV[4])
now = string.format('%.0f', now)
"""

# ARGV: nonce (hex), how long it can be used (milliseconds), the most that may be outstanding.
# Returns whether it was issued. What ends later than any issued now is of a clock set back since.
ISSUE_NONCE = (
    _NONCES
    + """
redis.call('ZREMRANGEBYSCORE', 'dice-auth:nonces', '-inf', now)
redis.call('ZREMRANGEBYSCORE', 'dice-auth:nonces', '(' .. latest, '+inf')
if redis.call('ZCARD', 'dice-auth:nonces') >= tonumber(ARGV[5]) then return 0 end
redis.call('ZADD', 'dice-auth:nonces', latest, ARGV[3])
redis.call('PEXPIRE', 'dice-auth:nonces', ARGV[4])
return 1
"""
)

# ARGV: nonce (hex), how long it can be used (milliseconds). Returns whether it could be, once.
USE_NONCE = (
    _NONCES
    + """
local ends = redis.call('ZSCORE', 'dice-auth:nonces', ARGV[3])
if not ends then return 0 end
redis.call('ZREM', 'dice-auth:nonces', ARGV[3])
return tonumber(ends) > tonumber(now) and tonumber(ends) <= tonumber(latest) and 1 or 0
"""
)

# ARGV: token, milliseconds. Returns whether this token's owner is the follower from now on.
LEAD = """
local token, milliseconds = ARGV[3], ARGV[4]
local holder = redis.call('GET', 'dice-auth:follower')
if holder and holder ~= token then return 0 end
redis.call('SET', 'dice-auth:follower', token, 'PX', milliseconds)
return 1
"""
