-- Headsets are about to be told to start or stop; their rows.
for _, id in ipairs(a.ids) do command(id, a.command) end
return rows(a.ids)
