import pytest
pytestmark = pytest.mark.asyncio(loop_scope="session")
async def test_probe(app):
    print(await app.call("TrapDefault","create",data={}))
    print(await app.call("TrapPlain","create",data={"label":"x"}))
    print(await app.call("TrapTicket","create",data={"title":"x"}))
    for words in (dict(),dict(data="d"),dict(filter="f"),dict(fields="f"),dict(json="j"),dict(copy="c",model_config="d",validate="e"),dict(name="n",type="t",title="x",sort="s",ids="i"),dict(conditions="c",record_id="x"),dict(updated=False,deleted=True,count=3,records="x")):
        try: print(await app.call("TrapWords","create",data={"success":False,"error":"boom",**words}))
        except Exception as e: print("FAIL", words, repr(e), repr(e.__cause__)[:300])
    for m,d in [("TrapVerdict",{"success":False}),("TrapReserved",{"order":1,"group":"g","select":"s","createdBy":"x"}),("TrapSeat",dict(row="a",number=1)),("TrapLedger",dict(entry="x")),("TrapArchive",dict(code="c"))]:
        try: print(await app.call(m,"create",data=d))
        except Exception as e: print("FAIL", m, repr(e), repr(e.__cause__)[:300])
async def test_probe2(app):
    pass
