-- Give a result that has not changed meanwhile another verdict. 1 if it has it now.
if redis.call('HGET', 'qa_session:' .. a.session, 'fingerprint') ~= a.fingerprint then return 0 end
qa_place(a.session, a.verdict)
return 1
