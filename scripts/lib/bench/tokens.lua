-- Requests for wrk that go through the tokens in turn; tells at the end how many there were, and
-- how many of them failed.

local head, count, index

function init(arguments)
    count = tonumber(arguments[2])
    index = tonumber(arguments[3])
    head = "GET / HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer " .. arguments[1]
end

function request()
    index = (index + 1) % count
    return head .. string.format("%07d", index) .. "\r\n\r\n"
end

function done(summary)
    local errors = 0
    for _, number in pairs(summary.errors) do
        errors = errors + number
    end
    io.write(string.format("requests %d %d\n", summary.requests, errors))
end
