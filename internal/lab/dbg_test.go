package lab
import ("testing";"time")
func TestDbg(t *testing.T){
 l:=newLab(t)
 start:=time.Now()
 for time.Since(start)<3*time.Second {
  out,err:=l.Visitor().Run(t.Context(),"ip","-6","addr","show","dev","eth0")
  n,_:=l.Visitor().Run(t.Context(),"ip","-6","neigh")
  c,err2:=l.Visitor().Dial(t.Context(),"tcp","[2001:db8:a::1]:2222")
  t.Log(time.Since(start),out,err,n, err2); _=c
 }
}
