-- Requests for wrk that go through a range of tokens in turn; tells at the end how many there were,
-- and how many of them failed. Arguments: what all tokens begin with, the number of the first one, how
-- many there are, and with which to begin.

local token, first, count, index

function init(arguments)
    token = " HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer " .. arguments[1]
    first, count, index = tonumber(arguments[2]), tonumber(arguments[3]), tonumber(arguments[4])
end

function request()
    local digits = string.format("%07d", first + index)
    index = (index + 1) % count
    return "GET /?" .. digits .. token .. digits .. "\r\n\r\n"
end

function done(summary)
    local errors = 0
    for _, number in pairs(summary.errors) do
        errors = errors + number
    end
    io.write(string.format("requests %d %d\n", summary.requests, errors))
end
