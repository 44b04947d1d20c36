"""What the Redis registry does to a single board, if it still is as it was seen, and the boards of
a page. Layout and what scripts share: `redis_scripts`."""

from dice_auth.redis_scripts import COMMON, CONFLICT

# What `redis_registry` reads of a board: all that operators write of it, in one hash. key_id: hex.
_STATE = """
local function state_of(id, key_id)
    local board = 'dice-auth:board:' .. id
    local kept = redis.call('HMGET', board, 'application', 'labels', 'enrolled_at')
    local revoked = redis.call('HGET', 'dice-auth:revoked', key_id)
    return redis.sha1hex(table.concat({
        pem_of(id) or '', kept[1] or '', kept[2] or '', kept[3] or '', revoked or ''
    }, '\\0'))
end
"""

# ARGV: id, its state, its key id (hex), PEM of another root or '', its key id (hex), application,
# labels (JSON), the time. Returns {'ok'}, {'changed'} if that is not its state, or {what, id,
# other}.
EDIT = (
    COMMON
    + _STATE
    + CONFLICT
    + """
local id, state, key_id, pem, new_key_id, application, labels, now = unpack(ARGV, 3)
if not pem_of(id) or state_of(id, key_id) ~= state then return {'changed'} end
local board = 'dice-auth:board:' .. id
if pem ~= '' then
    local conflict = conflict_of_root(id, new_key_id)
    if conflict then return conflict end
    write_theirs('HSET', id, 'root_cert', pem)
    redis.call('HSET', board, 'enrolled_at', now)
    index(id, redis.sha1hex(pem), new_key_id)
end
redis.call('HSET', board, 'application', application, 'labels', labels)
return {'ok'}
"""
)

# ARGV: id, its state, its key id (hex), the revocation (JSON). Returns 0 if that is not its state.
REVOKE = (
    COMMON
    + _STATE
    + """
local id, state, key_id, revocation = unpack(ARGV, 3)
if not pem_of(id) or state_of(id, key_id) ~= state then return 0 end
redis.call('HSET', 'dice-auth:revoked', key_id, revocation)
return 1
"""
)

# ARGV: id, its state or '' if it is not enrolled, the key id (hex) whose revocation to take back.
# Returns how many it took back; -1 if that is not its state.
REINSTATE = (
    COMMON
    + _STATE
    + """
local id, state, key_id = unpack(ARGV, 3)
local is_enrolled = pem_of(id) and true or false
if is_enrolled ~= (state ~= '') then return -1 end
if is_enrolled and state_of(id, key_id) ~= state then return -1 end
return redis.call('HDEL', 'dice-auth:revoked', key_id)
"""
)

# ARGV: cursor, how many, the id after which to begin in the cursor's first bucket or ''. Returns
# {next cursor, next such id, id, PEM, id, PEM, ...}: at most as many; a bucket of SCAN that has
# more than that is cut, in the order of its ids. Goes no further than it takes to look at some
# hundreds of keys, and may then return fewer.
PAGE = (
    COMMON
    + """
local cursor, limit, after = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local ids, last = {}, ''
redis.call('SELECT', theirs)
for step = 1, limit + 100 do
    local page = redis.call('SCAN', cursor, 'COUNT', 1, 'TYPE', 'hash')
    local bucket = {}
    for _, id in ipairs(page[2]) do
        if after == '' or id > after then bucket[#bucket + 1] = id end
    end
    if #ids + #bucket > limit then
        if #ids == 0 then
            table.sort(bucket)
            for at = 1, limit do ids[at] = bucket[at] end
            last = ids[limit]
        end
        break
    end
    for _, id in ipairs(bucket) do ids[#ids + 1] = id end
    cursor, after = page[1], ''
    if cursor == '0' or #ids == limit then break end
end
local answer = {cursor, last}
for _, id in ipairs(ids) do
    local pem = redis.call('HGET', id, 'root_cert')
    if pem then
        answer[#answer + 1] = id
        answer[#answer + 1] = pem
    end
end
redis.call('SELECT', ours)
return answer
"""
)

# ARGV: id, its state or '' for any, its key id (hex). Returns whether it was there, -1 if that is
# not its state.
REMOVE = (
    COMMON
    + _STATE
    + """
if ARGV[4] ~= '' and (not pem_of(ARGV[3]) or state_of(ARGV[3], ARGV[5]) ~= ARGV[4]) then
    return -1
end
unindex(ARGV[3])
redis.call('DEL', 'dice-auth:board:' .. ARGV[3])
if not pem_of(ARGV[3]) then return 0 end
return write_theirs('DEL', ARGV[3])
"""
)
