-- Requests for wrk with one token, each with the next DPoP proof; tells at the end how many there
-- were, and how many of them failed. Arguments: the token, what the query string is, and the file with
-- the proofs.

local before, proofs, index

function init(arguments)
    before = "GET /?" .. arguments[2] .. " HTTP/1.1\r\nHost: api.example\r\nAuthorization: DPoP "
        .. arguments[1] .. "\r\nDPoP: "
    proofs, index = {}, 0
    for proof in io.lines(arguments[3]) do
        proofs[#proofs + 1] = proof
    end
end

function request()
    index = index % #proofs + 1
    return before .. proofs[index] .. "\r\n\r\n"
end

function done(summary)
    local errors = 0
    for _, number in pairs(summary.errors) do
        errors = errors + number
    end
    io.write(string.format("requests %d %d\n", summary.requests, errors))
end
