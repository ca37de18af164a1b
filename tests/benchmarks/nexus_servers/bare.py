"""A bare FastAPI route that does what the handler does: `python -m … PORT`."""

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.post("/greet")
async def greet(body: dict[str, str]) -> dict[str, str]:
    return {"message": f"{body.get('greeting', 'Hello')}, {body['name']}!"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
